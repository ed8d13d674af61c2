"""Everything of one app, on one value: nothing of a server is a module's."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from archon.amounts import micro_usd
from archon.errors import ArchonError
from archon.proxy.answers import SharedAnswers
from archon.proxy.architectures import Catalogue
from archon.proxy.asgi import header
from archon.proxy.http import Call
from archon.proxy.inside import document
from archon.proxy.keys import KeyStore
from archon.proxy.ledger import Ledger
from archon.proxy.metrics import Metrics
from archon.proxy.passed import PassedRequests
from archon.proxy.runs import Job, report
from archon.proxy.settings import Settings
from archon.proxy.stopping import UnderWay
from archon.proxy.telemetry import Tracing
from archon.proxy.traces import TraceStore
from archon.proxy.unmetered import Unmetered
from archon.sandbox import CodeSandbox
from archon.trace import Trace
from archon.types import Usage

logger = logging.getLogger("archon.proxy")


@dataclass(slots=True)
class Services:
    """What the routes of one app share."""

    settings: Settings
    catalogue: Catalogue
    metrics: Metrics
    ledger: Ledger | Unmetered
    keys: KeyStore | None = None
    open_to_all: bool = True
    traces: TraceStore | None = None
    passed: PassedRequests | None = None
    """The list of requests that were passed through; None = there is none."""
    answers: SharedAnswers | None = None
    """To requests with an Idempotency-Key, for all workers; None = each worker has its own alone."""
    sandbox: CodeSandbox | None = None
    """For code that models write; None until something is served that runs any."""
    tracing: Tracing = field(default_factory=Tracing)
    under_way: UnderWay = field(default_factory=UnderWay)
    retired: list[Catalogue] = field(default_factory=list)

    def swap(self, fresh: Catalogue) -> None:
        """Serves another catalogue from the next request on. Raises as `provide`; nothing has changed then."""
        self.provide(fresh)
        self.retired.append(self.catalogue)
        self.catalogue = fresh

    def provide(self, catalogue: Catalogue) -> None:
        """Makes the app's one sandbox, which starts nothing before its use: models may write code as tests unasked.

        Raises:
            ConfigError: something of the catalogue is sure to run code, and nothing safe works here.
        """
        sandbox = self.sandbox or CodeSandbox(unsafe=self.settings.unsafe_exec)
        if any(served.graph.runs_code for served in catalogue):
            sandbox.require()
        self.sandbox = sandbox

    async def sweep(self, force: bool = False) -> None:
        """Closes catalogues that no request uses any more."""
        for old in [each for each in self.retired if force or each.idle]:
            self.retired.remove(old)
            await old.stack.aclose()

    async def aclose(self) -> None:
        """Writes what is outstanding and closes everything."""
        await self.sweep(force=True)
        await self.catalogue.stack.aclose()
        await self.ledger.aclose()
        if self.sandbox is not None:
            await self.sandbox.aclose()
        if self.passed is not None:
            self.passed.flush()
        if self.traces is not None:
            await self.traces.aclose()
        self.tracing.close()
        if self.keys is not None:
            self.keys.close()

    def unexpected(self, call: Call, error: BaseException) -> None:
        """Logs what is no answer to a request but a fault of this program."""
        if not isinstance(error, ArchonError):
            logger.error("request %s: %s", call.id, type(error).__name__, exc_info=error)

    def observe_call(self, call: Call, model: str, usage: Usage, spent: int) -> None:
        """Metrics and log of one passed-through call."""
        overhead = max(0.0, time.perf_counter() - call.began - call.waited)
        self.metrics.passed(model, usage.prompt_tokens, usage.completion_tokens, spent, overhead)
        call.say(calls=1, prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens, micro_usd=spent)

    def observe(self, call: Call, job: Job, error: BaseException | None) -> None:
        """Metrics, log, trace and spans of the runs of one request, however they ended."""
        for trace in job.traces:
            self._count(job.served.id, trace)
        told, usage = report(job), job.spend
        cost = usage.cost_usd
        call.say(
            trace_id=job.trace_id,
            calls=told["calls"],
            cache_hits=told["cache_hits"],
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            micro_usd=None if cost is None else micro_usd(cost),
            stream=job.ask.stream,
            stopped=told["stopped"],
        )
        self.metrics.overhead(call.model, max(0.0, time.perf_counter() - call.began - call.waited))
        name = type(error).__name__ if error else None
        for trace in job.traces if self.tracing.on else ():
            names = {"archon.trace_id": job.trace_id, "archon.request_id": call.id}
            parent = header(call.scope, b"traceparent")
            self.tracing.run(job.served.id, trace, began=job.began, attributes=names, error=name, traceparent=parent)
        if self.traces is not None:
            key = call.key.id if call.key else None
            text, graph = self.settings.trace_text, job.served.graph.architecture
            whole = partial(document, graph, job.ask.messages, job.traces, job.results, texts=text)
            self.traces.save(job.trace_id, key, _summary(job, error, text), whole)

    def _count(self, architecture: str, trace: Trace) -> None:
        outcomes = Counter(
            (made.model, "error" if made.error else "cached" if made.cached else "ok") for made in trace.calls
        )
        for (model, outcome), count in outcomes.items():
            self.metrics.calls(model, outcome, count)
        for model in {model for model, _ in outcomes}:
            paid = [made.usage for made in trace.calls if made.model == model and not made.cached]
            self.metrics.tokens(model, sum(u.prompt_tokens for u in paid), sum(u.completion_tokens for u in paid))
            self.metrics.spend(model, sum(micro_usd(u.cost_usd or 0.0) for u in paid))
        for record in trace.nodes.values():
            if record.ended is not None:
                self.metrics.node(architecture, record.layer, record.ended - record.started)


def _summary(job: Job, error: BaseException | None, text: bool) -> dict[str, Any]:
    """What a list of past requests tells of one."""
    told = {name: value for name, value in report(job).items() if name != "nodes"}
    question = next((each.text for each in reversed(job.ask.messages) if each.role == "user"), "") if text else ""
    return {
        **told,
        "seconds": round(time.time() - job.began, 3),
        "question": question[:200],
        "error": None if error is None else (str(error)[:500] if text else type(error).__name__),
    }
