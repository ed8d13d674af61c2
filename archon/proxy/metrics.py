"""Prometheus metrics, in a registry of their own.

Label sets are bounded: a route is a template, a status a number, a model one that this service serves ("other" for what
a client made up), a layer one of the graph's. No key, user, request or trace id is ever a label.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from archon.proxy.shared_metrics import VARIABLE, render_all

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Metrics:
    """All that is measured.

    Args:
        models: the models and architectures that are served now; asked at every observation.
    """

    def __init__(self, models: Callable[[], Collection[str]] = lambda: ()) -> None:
        self.registry = own = CollectorRegistry()
        self._models = models
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._passed: dict[str, tuple[Counter, Counter, Counter, Counter, Histogram]] = {}

        def counter(name: str, told: str, *labels: str) -> Counter:
            return Counter(f"archon_{name}", told, labels, registry=own)

        def histogram(name: str, told: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            return Histogram(f"archon_{name}_seconds", told, labels, registry=own, buckets=buckets)

        self._requests = counter("requests", "HTTP requests answered.", "route", "model", "status")
        self._seconds = histogram(
            "request_duration", "From a request's arrival to the end of its answer.", "route", "model"
        )
        self._first = histogram("time_to_first_token", "From a request's arrival to the first streamed token.", "model")
        self._overhead = histogram(
            "overhead", "Time of a request that no upstream call accounts for.", "model", buckets=_OVERHEAD
        )
        self._node = histogram("node_duration", "One node of an architecture.", "architecture", "layer")
        self._tokens = counter("tokens", "Tokens of upstream calls.", "model", "type")
        self._spend = counter("spend_usd", "US dollars paid upstream.", "model")
        self._calls = counter("upstream_calls", "Upstream model calls.", "model", "outcome")
        self.traces_dropped = counter("traces_dropped", "Traces that were not kept.")
        self.in_flight = Gauge(
            "archon_requests_in_flight", "Requests being answered.", registry=own, multiprocess_mode="livesum"
        )

    def request(self, route: str, model: str, status: int, seconds: float) -> None:
        """One answered request."""
        known = self._known(model)
        found = self._answered.get((route, known, status))
        if found is None:
            counter = self._counter(self._requests, route, known, str(status))
            found = self._answered[route, known, status] = counter, self._histogram(self._seconds, route, known)
        found[0].inc()
        found[1].observe(seconds)

    def passed(self, model: str, prompt: int, completion: int, micro_usd: int, overhead: float) -> None:
        """One call passed through: `tokens`, `spend`, `calls` and `overhead` with one look for their labels."""
        known = self._known(model)
        found = self._passed.get(known)
        if found is None:
            found = self._passed[known] = (
                self._counter(self._tokens, known, "input"),
                self._counter(self._tokens, known, "output"),
                self._counter(self._spend, known),
                self._counter(self._calls, known, "ok"),
                self._histogram(self._overhead, known),
            )
        found[0].inc(prompt)
        found[1].inc(completion)
        found[2].inc(micro_usd / 1e6)
        found[3].inc()
        found[4].observe(overhead)

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

    def render(self) -> bytes:
        """The exposition text; all workers' where PROMETHEUS_MULTIPROC_DIR is set."""
        return render_all() if os.environ.get(VARIABLE) else generate_latest(self.registry)

    def _known(self, model: str) -> str:
        return model if model in self._models() else OTHER

    def _counter(self, parent: Counter, *labels: str) -> Counter:
        found = self._counters.get((parent._name, *labels))
        if found is None:
            found = self._counters[(parent._name, *labels)] = parent.labels(*labels)
        return found

    def _histogram(self, parent: Histogram, *labels: str) -> Histogram:
        found = self._histograms.get((parent._name, *labels))
        if found is None:
            found = self._histograms[(parent._name, *labels)] = parent.labels(*labels)
        return found
