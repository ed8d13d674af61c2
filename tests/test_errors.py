"""Messages are one line, name causes once with their count, and suggest names."""

from __future__ import annotations

from archon.errors import ClientError, ConfigError, MissingExtraError, NodeError, RunError, UnknownNameError


def test_causes_are_counted_and_the_most_frequent_comes_first() -> None:
    error = NodeError("g", "0 of 3 draws", [ClientError("b"), ClientError("a"), ClientError("a"), ValueError()])
    assert str(error) == "node 'g': 0 of 3 draws: a (×2); b; ValueError"
    assert len(error.causes) == 4


def test_run_errors_hold_causes_and_trace() -> None:
    trace = object()
    error = RunError("no answer", [ClientError("x")], trace)
    assert (str(error), error.trace) == ("no answer: x", trace)
    assert str(RunError("no answer")) == "no answer"


def test_missing_extras_are_named() -> None:
    error = MissingExtraError("local models", "local")
    assert isinstance(error, ConfigError)
    assert str(error) == "local models needs the extra [local]: pip install 'archon-engine[local]'"


def test_unknown_names_without_a_table_say_none() -> None:
    assert str(UnknownNameError("model", "x", [])) == "unknown model 'x'. Known: none."
