"""Spans by the GenAI conventions: workflow → node → chat, without content, and nothing at all unless configured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from archon.proxy.settings import Settings
from archon.proxy.telemetry import Tracing
from archon.trace import Call, NodeRecord, Note, Trace
from archon.types import Usage
from tests.proxy.serving import Serving, fake, system, voted
from tests.proxy.wire import ask

sdk = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="the SDK is not installed")

BEGAN = 1_767_355_200.0


def trace() -> Trace:
    found = Trace()
    found.nodes["drafts"] = NodeRecord("drafts", "generator", 0.0, 1.0)
    found.nodes["fused"] = NodeRecord("fused", "fuser", 1.0, 3.0, error="node 'fused': PROMPT")
    paid = Usage(1, 100, 20, 0, 0.001, 0.5)
    found.calls += [
        Call("drafts", "acme/small", "generate", 0, paid, False, text="ANSWER", ended=1.0),
        Call("drafts", "acme/small", "generate", 1, paid, True, text="ANSWER", ended=0.1),
        Call("fused", "large", "fuse", 0, Usage(), False, error="refused: PROMPT", ended=3.0),
    ]
    found.notes.append(Note("fused", "fallback", "PROMPT"))
    return found


@pytest.fixture
def spans() -> Sequence[object]:
    exporter = sdk.InMemorySpanExporter()
    tracing = Tracing.exporting(exporter)
    tracing.run(
        "archon/best",
        trace(),
        began=BEGAN,
        ended=BEGAN + 3.25,
        attributes={"archon.trace_id": "tr_1"},
        error="RunError",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    tracing.close()
    found: Sequence[object] = exporter.get_finished_spans()
    return found


def named(spans: Sequence[object], name: str) -> list[object]:
    return [span for span in spans if span.name == name]  # type: ignore[attr-defined]


def test_a_run_is_a_tree_of_workflow_nodes_and_calls(spans: Sequence[object]) -> None:
    (workflow,) = named(spans, "invoke_workflow archon/best")
    (drafts,), (fused,) = named(spans, "invoke_agent generator"), named(spans, "invoke_agent fuser")
    chats = named(spans, "chat acme/small")
    parents = {span.context.span_id: span.parent.span_id for span in spans}  # type: ignore[attr-defined]
    assert parents[drafts.context.span_id] == parents[fused.context.span_id] == workflow.context.span_id  # type: ignore[attr-defined]
    assert {parents[chat.context.span_id] for chat in chats} == {drafts.context.span_id}  # type: ignore[attr-defined]
    assert len(spans) == 6  # one run, two nodes, three calls


def test_the_callers_trace_is_carried_on(spans: Sequence[object]) -> None:
    (workflow,) = named(spans, "invoke_workflow archon/best")
    assert {f"{span.context.trace_id:032x}" for span in spans} == {"0af7651916cd43dd8448eb211c80319c"}  # type: ignore[attr-defined]
    assert f"{workflow.parent.span_id:016x}" == "b7ad6b7169203331"  # type: ignore[attr-defined]


def test_spans_have_the_conventions_attributes(spans: Sequence[object]) -> None:
    (workflow,) = named(spans, "invoke_workflow archon/best")
    assert dict(workflow.attributes) == {  # type: ignore[attr-defined]
        "gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "archon/best",
        "gen_ai.provider.name": "archon", "archon.trace_id": "tr_1", "error.type": "RunError",
    }  # fmt: skip
    chat = named(spans, "chat acme/small")[0]
    assert dict(chat.attributes) == {  # type: ignore[attr-defined]
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "acme", "gen_ai.request.model": "acme/small",
        "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20, "archon.role": "generate",
        "archon.sample": 0, "archon.cached": False,
    }  # fmt: skip
    assert chat.kind.name == "CLIENT"  # type: ignore[attr-defined]


def test_times_are_those_of_the_run(spans: Sequence[object]) -> None:
    def seconds(name: str, at: int = 0) -> tuple[float, float]:
        span = named(spans, name)[at]
        return span.start_time / 1e9 - BEGAN, span.end_time / 1e9 - BEGAN  # type: ignore[attr-defined]

    near = pytest.approx
    assert seconds("invoke_workflow archon/best") == near((0, 3.25), abs=1e-5)
    assert seconds("invoke_agent fuser") == near((1, 3), abs=1e-5)
    assert seconds("chat acme/small", 0) == near((0.5, 1.0), abs=1e-5)  # it took half a second
    assert seconds("chat acme/small", 1) == near((0.1, 0.1), abs=1e-5)  # from the cache


def test_failures_are_marked_and_no_span_holds_content(spans: Sequence[object]) -> None:
    failed = {span.name for span in spans if span.status.status_code.name == "ERROR"}  # type: ignore[attr-defined]
    assert failed == {"invoke_workflow archon/best", "invoke_agent fuser", "chat large"}
    everything = "".join(span.to_json() for span in spans)  # type: ignore[attr-defined]
    assert "PROMPT" not in everything
    assert "ANSWER" not in everything


def test_it_is_off_unless_an_endpoint_is_named() -> None:
    assert not Tracing.from_environ({}).on
    assert not Tracing.from_environ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}).on
    on = Tracing.from_environ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"})
    assert on.on
    on.close()


def test_off_means_that_the_sdk_is_not_even_imported() -> None:
    code = """
import sys
from archon.proxy.settings import Settings
from archon.proxy.telemetry import Tracing
from archon.trace import Trace
tracing = Tracing.from_environ({})
tracing.run("archon/x", Trace(), began=0.0)
tracing.close()
print([name for name in sys.modules if name.startswith("opentelemetry")])"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(("given", "carried"), [(PARENT, True), ("00-nonsense-\xff", False)])
def test_the_trace_of_a_request_is_carried_on(tmp_path: Path, given: str, carried: bool) -> None:
    exporter = sdk.InMemorySpanExporter()
    path = system(tmp_path, "s", voted(), [fake("m", ["a"])])
    with Serving(Settings(files=(path,))) as server:
        server.services.tracing = Tracing.exporting(exporter)
        body = {"model": "archon/s", "messages": [{"role": "user", "content": "q"}]}
        assert ask(server.port, body, headers={"traceparent": given}).status == 200
    (workflow,) = named(exporter.get_finished_spans(), "invoke_workflow archon/s")
    found = f"{workflow.context.trace_id:032x}" == PARENT.split("-")[1]  # type: ignore[attr-defined]
    assert found == carried
