"""Prometheus metrics, in a registry of their own.

Label sets are bounded: a route is a template, a status a number, a model one that this service serves ("other" for what
a client made up), a layer one of the graph's. No key, user, request or trace id is ever a label.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Metrics:
    """All that is measured.

    Args:
        models: the models and architectures that are served now; asked at every new label value.
    """

    def __init__(self, models: Callable[[], Collection[str]] = lambda: ()) -> None:
        self.registry = CollectorRegistry()
        self._models = models
        self._children: dict[tuple[str, ...], Counter | Histogram] = {}
        own = {"registry": self.registry}
        self._requests = Counter("archon_requests", "HTTP requests answered.", ("route", "model", "status"), **own)
        self._seconds = Histogram(
            "archon_request_duration_seconds", "From the request's arrival to the end of its answer.",
            ("route", "model"), buckets=_SECONDS, **own,
        )  # fmt: skip
        self._first = Histogram(
            "archon_time_to_first_token_seconds", "From the request's arrival to the first streamed token.",
            ("model",), buckets=_SECONDS, **own,
        )  # fmt: skip
        self._overhead = Histogram(
            "archon_overhead_seconds", "Time of a request that no upstream call accounts for.",
            ("model",), buckets=_OVERHEAD, **own,
        )  # fmt: skip
        self._node = Histogram(
            "archon_node_duration_seconds", "One node of an architecture.",
            ("architecture", "layer"), buckets=_SECONDS, **own,
        )  # fmt: skip
        self._tokens = Counter("archon_tokens", "Tokens of upstream calls.", ("model", "type"), **own)
        self._spend = Counter("archon_spend_usd", "US dollars paid upstream.", ("model",), **own)
        self._calls = Counter("archon_upstream_calls", "Upstream model calls.", ("model", "outcome"), **own)
        self._refused = Counter("archon_refused", "Requests refused before any call.", ("reason",), **own)
        self.in_flight = Gauge(
            "archon_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum", **own
        )
        self.traces_dropped = Counter("archon_traces_dropped", "Traces not kept, the queue being full.", **own)

    def request(self, route: str, model: str, status: int, seconds: float) -> None:
        """One answered request."""
        known = self._known(model)
        self._counter(self._requests, route, known, str(status)).inc()
        self._histogram(self._seconds, route, known).observe(seconds)

    def first_token(self, model: str, seconds: float) -> None:
        """The first streamed token."""
        self._histogram(self._first, self._known(model)).observe(seconds)

    def overhead(self, model: str, seconds: float) -> None:
        """This service's own part of a request."""
        self._histogram(self._overhead, self._known(model)).observe(seconds)

    def node(self, architecture: str, layer: str, seconds: float) -> None:
        """One node's run."""
        self._histogram(self._node, self._known(architecture), layer).observe(seconds)

    def tokens(self, model: str, prompt: int, completion: int) -> None:
        """Tokens of one upstream call, or of several of one model."""
        known = self._known(model)
        self._counter(self._tokens, known, "input").inc(prompt)
        self._counter(self._tokens, known, "output").inc(completion)

    def spend(self, model: str, micro_usd: int) -> None:
        """What upstream calls of one model cost."""
        self._counter(self._spend, self._known(model)).inc(micro_usd / 1e6)

    def calls(self, model: str, outcome: str, count: int = 1) -> None:
        """Upstream calls; outcome: ok, cached or error."""
        self._counter(self._calls, self._known(model), outcome).inc(count)

    def refused(self, reason: str) -> None:
        """A request refused before any call; reason: a fixed word of the code's (quota, rate, auth, bounds …)."""
        self._counter(self._refused, reason).inc()

    def render(self) -> bytes:
        """The exposition text; all workers' where PROMETHEUS_MULTIPROC_DIR is set."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)
        return generate_latest(everyone)

    def _known(self, model: str) -> str:
        return model if model in self._models() else OTHER

    def _counter(self, parent: Counter, *labels: str) -> Counter:
        child = self._children.get((parent._name, *labels))
        if child is None:
            child = self._children[(parent._name, *labels)] = parent.labels(*labels)
        return child  # type: ignore[return-value]

    def _histogram(self, parent: Histogram, *labels: str) -> Histogram:
        child = self._children.get((parent._name, *labels))
        if child is None:
            child = self._children[(parent._name, *labels)] = parent.labels(*labels)
        return child  # type: ignore[return-value]
