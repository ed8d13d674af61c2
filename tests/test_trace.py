"""The record of a run as plain data."""

from __future__ import annotations

from dataclasses import asdict
from itertools import permutations

from archon.trace import Call, NodeRecord, Note, Trace
from archon.types import Usage


def test_the_order_of_arrival_is_not_in_the_record() -> None:
    """A verifier's calls about several candidates are equal in node, role, model and sample index."""
    usage = Usage(calls=1)
    calls = [
        Call("verifier", "m", "verify", 0, usage, False, text="right"),
        Call("verifier", "m", "verify", 0, usage, False, text="wrong"),
        Call("verifier", "m", "verify", 0, usage, False, error="refused"),
        Call("generator", "m", "generate", 0, usage, False, text="4"),
    ]
    notes = [Note("verifier", "repair", "a"), Note("verifier", "repair", "b"), Note("generator", "stopped", "c")]
    nodes = {name: NodeRecord(name, name) for name in ("generator", "verifier")}
    records = [
        Trace(nodes, list(order), list(told)).to_dict() for order in permutations(calls) for told in permutations(notes)
    ]
    assert all(record == records[0] for record in records)
    assert [call["text"] for call in records[0]["calls"]] == ["4", "right", "wrong", ""]


def test_all_of_a_call_is_told_but_when_it_ended() -> None:
    call = Call("g", "m", "generate", 3, Usage(calls=1, prompt_tokens=5), True, "refused", "half", 1.5)
    (told,) = Trace({"g": NodeRecord("g", "generator")}, [call]).to_dict()["calls"]
    assert told == {name: value for name, value in asdict(call).items() if name != "ended"}
