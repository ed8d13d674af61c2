"""OpenTelemetry traces of runs by the GenAI semantic conventions: workflow → node → chat.

    invoke_workflow NAME   (one run of an architecture)
      invoke_agent LAYER   (one node)
        chat MODEL         (one upstream call)

Off unless configured (OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT); the SDK is imported only
then. Spans hold no prompt and no answer. Names of the conventions, version 1.41 (status: Development), stand in this
file alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from archon.errors import MissingExtraError
from archon.trace import Call, NodeRecord, Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

OPERATION, PROVIDER = "gen_ai.operation.name", "gen_ai.provider.name"
WORKFLOW, AGENT = "gen_ai.workflow.name", "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
INPUT_TOKENS, OUTPUT_TOKENS = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
ERROR = "error.type"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing:
    """Exports runs, or does nothing at all."""

    def __init__(self, tracer: Tracer | None = None, provider: Any = None) -> None:
        self._tracer, self._provider = tracer, provider

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Tracing:
        """On where an OTLP endpoint is named and OTEL_SDK_DISABLED is not true."""
        wanted = any(environ.get(name) for name in _ENDPOINTS) and environ.get("OTEL_SDK_DISABLED", "") != "true"
        return cls.exporting(None) if wanted else cls()

    @classmethod
    def exporting(cls, exporter: SpanExporter | None) -> Tracing:
        """To an exporter; None = OTLP over HTTP, configured by the standard environment variables.

        Raises:
            MissingExtraError: the SDK is not installed.
        """
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

            resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "archon")})
            provider = TracerProvider(resource=resource)
            if exporter is not None:
                provider.add_span_processor(SimpleSpanProcessor(exporter))
            else:
                from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

                provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except ImportError:
            raise MissingExtraError("OpenTelemetry export", "otel") from None
        return cls(provider.get_tracer("archon"), provider)

    @property
    def on(self) -> bool:
        """Whether anything is exported."""
        return self._tracer is not None

    def run(
        self,
        architecture: str,
        trace: Trace,
        *,
        began: float,
        ended: float | None = None,
        attributes: Mapping[str, str | int | float] | None = None,
        error: str | None = None,
        traceparent: str | None = None,
    ) -> None:
        """Exports a run that is over.

        Args:
            began, ended: Unix time in seconds; None = now.
            attributes: of the workflow's span (request id, trace id).
            error: the class of what ended the run, where it gave no answer.
            traceparent: the caller's W3C trace context.
        """
        if self._tracer is None:
            return
        context = self._parent(traceparent)
        name = {OPERATION: "invoke_workflow", WORKFLOW: architecture, PROVIDER: "archon", **(attributes or {})}
        with _Span(self._tracer, f"invoke_workflow {architecture}", name, began, context) as workflow:
            workflow.end(ended if ended is not None else time.time(), error)
            for record in trace.nodes.values():
                self._node(record, [call for call in trace.calls if call.node == record.id], began, workflow.context)

    def close(self) -> None:
        """Sends what is outstanding."""
        if self._provider is not None:
            self._provider.shutdown()

    def _node(self, record: NodeRecord, calls: list[Call], began: float, context: Any) -> None:
        assert self._tracer is not None
        start, end = began + record.started, began + (record.ended if record.ended is not None else record.started)
        attributes = {OPERATION: "invoke_agent", AGENT: record.layer, "archon.node.id": record.id, PROVIDER: "archon"}
        failed = "NodeError" if record.error else None
        with _Span(self._tracer, f"invoke_agent {record.layer}", attributes, start, context) as node:
            node.end(end, failed)
            for call in calls:
                self._call(call, began, end, node.context)

    def _call(self, call: Call, began: float, node_end: float, context: Any) -> None:
        assert self._tracer is not None
        start, end = _times(call, began, node_end)
        with _Span(self._tracer, f"chat {call.model}", dict(_chat(call)), start, context, client=True) as span:
            span.end(end, "ClientError" if call.error else None)

    def _parent(self, traceparent: str | None) -> Any:
        if not traceparent:
            return None
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


class _Span:
    """A span with times of the past: made, then ended by hand."""

    def __init__(
        self, tracer: Tracer, name: str, attributes: Mapping[str, Any], start: float, parent: Any, client: bool = False
    ) -> None:
        from opentelemetry import context
        from opentelemetry.trace import SpanKind, set_span_in_context

        self._span = tracer.start_span(
            name,
            context=parent if parent is not None else context.Context(),
            kind=SpanKind.CLIENT if client else SpanKind.INTERNAL,
            attributes=dict(attributes),
            start_time=int(start * 1e9),
        )
        self.context = set_span_in_context(self._span, context.Context())
        self._end = start

    def __enter__(self) -> _Span:
        return self

    def __exit__(self, *_: object) -> None:
        self._span.end(int(self._end * 1e9))

    def end(self, at: float, error: str | None) -> None:
        """The time it ended, Unix seconds, and the class of its failure."""
        from opentelemetry.trace import Status, StatusCode

        self._end = at
        if error:
            self._span.set_attribute(ERROR, error)
            self._span.set_status(Status(StatusCode.ERROR))


def _chat(call: Call) -> Iterator[tuple[str, Any]]:
    yield OPERATION, "chat"
    yield PROVIDER, call.model.split("/")[0] if "/" in call.model else "openai"
    yield REQUEST_MODEL, call.model
    yield INPUT_TOKENS, call.usage.prompt_tokens
    yield OUTPUT_TOKENS, call.usage.completion_tokens
    yield "archon.role", call.role
    yield "archon.sample", call.sample
    yield "archon.cached", call.cached


def _times(call: Call, began: float, node_end: float) -> tuple[float, float]:
    """When a call began and ended, Unix seconds; of a call without a time of its own, the node's end is its end."""
    end = node_end if call.ended is None else began + call.ended
    return end - (0.0 if call.cached else call.usage.seconds), end
