"""Equality of answers as mathematics, and what the reader refuses."""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import types
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.evals.symbolic.compare import equal
from archon.evals.symbolic.tokens import UnreadableError
from archon.extract import math
from archon.latex import normalise

DATA = Path(os.environ.get("ARCHON_TEST_DATA", "../shared/data"))


def same(first: str, second: str) -> bool:
    return equal(normalise(first) or "", normalise(second) or "")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (r"2\sqrt{2}", r"\sqrt{8}"),
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt2}{2}"),
        (r"x^2+2x+1", r"(x+1)^2"),
        (r"(x+1)(x-1)", r"x^{2} - 1"),
        (r"\frac{x-1}{2}", r"0.5x-0.5"),
        (r"3, 5", r"5, 3"),
        (r"\{1, 2, 3\}", r"3,1,2"),
        (r"1 \pm \sqrt{3}", r"1-\sqrt{3}, 1+\sqrt{3}"),
        (r"(1, \sqrt{4})", r"(1, 2)"),
        (r"(-\infty, 2)\cup(3, \infty)", r"(3,\infty) \cup (-\infty, 4/2)"),
        (r"\begin{pmatrix} 1/2 \\ 3 \end{pmatrix}", r"\begin{pmatrix} 0.5 \\ \sqrt{9} \end{pmatrix}"),
        (r"2x - y + 3 = 0", r"4x + 6 = 2y"),
        (r"x > 3", r"3 < x"),
        (r"2x \ge 6y", r"x \geq 3y"),
        (r"\sin^2 x + \cos^2 x", "1"),
        (r"\tan x", r"\frac{\sin x}{\cos x}"),
        (r"\log_2 8", "3"),
        (r"\ln e^{2}", "2"),
        (r"\binom{5}{2}", "10"),
        (r"5!", "120"),
        (r"\frac{10!}{8!}", "90"),
        (r"|{-3}|", "3"),
        (r"\lfloor 2.7 \rfloor", "2"),
        (r"\sqrt[3]{27}", "3"),
        (r"3 \frac{1}{2} x", r"\frac{7x}{2}"),
        (r"2^{10}", "1024"),
        (r"6 \div 4", "1.5"),
        (r"i^2", "-1"),
        (r"2 \cdot -3", "-6"),
        (r"a_1 + a_2", r"a_{2}+a_{1}"),
        (r"\sqrt{x^2} - \sqrt{x^2}", "0"),
        (r"e^{i\pi}", "-1"),
        (r"1 < x < 3", r"3 > x > 1"),
        (r"\{\}", r"\{ \}"),
        (r"\begin{pmatrix} 1 \\ 2 \\ \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
        (r"2^-1", "1/2"),
        (r"\frac{1}{x-\frac{17}{13}}", r"\frac{13}{13x-17}"),
        (r"\sin (2x)", r"2 \sin x \cos x"),
        (r"\sin 2x", r"2 \sin x \cos x"),
        ("abc+xyz+uv", "vu+cab+zyx"),
        ("a+b+c+d+f+g+h", "h+g+f+d+c+b+a"),
    ],
)
def test_equal_in_another_spelling(first: str, second: str) -> None:
    assert same(first, second)
    assert same(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (r"2\sqrt{2}", r"2\sqrt{3}"),
        (r"x+1", r"y+1"),
        (r"(1, 2)", r"(2, 1)"),
        (r"(1, 2)", r"[1, 2]"),
        (r"1, 2", r"1, 2, 2"),
        (r"1, 1, 2", r"1, 2, 2"),
        (r"1/3", "0.333333"),
        (r"\frac{22}{7}", r"\pi"),
        (r"x > 3", r"x \ge 3"),
        (r"x > 3", r"-x > -3"),
        (r"x = 3 + y", r"x = 3 - y"),
        (r"0 = 0", r"x = 1"),
        (r"10^{20}", r"10^{20} + 1"),
        (r"\infty", "5"),
        (r"\infty", r"-\infty"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \end{pmatrix}"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 3 \end{pmatrix}"),
        (r"(1, 2)", "3"),
        (r"\sqrt{x^2}", "-x"),
        ("a+b+c+d+f+g+h", "h+g+f+d+c+b+2a"),
        ("1=1", "2=2+x"),
        (r"\ln(x-1000)", r"\ln(x-1001)"),
    ],
)
def test_different_however_alike(first: str, second: str) -> None:
    assert not same(first, second)
    assert not same(second, first)


@pytest.mark.parametrize(
    "hostile",
    [
        "9^{9^{9^9}}",
        "(2^{5000})^{5000}",
        r"\pi^{10^6}",
        "100000!",
        "(5!)!!!",
        r"\binom{10^9}{5 \cdot 10^8}",
        "((((((((" * 10,
        "1" + "+1" * 600,
        r"\frac{1}{0}",
        "0^{-1}",
        r"1/(2-2)",
        "__import__('os').system('true')",
        r"\input{/etc/passwd}",
        "friday",
        "3:1",
        "1011_2",
        r"\sqrt{",
        "(1",
        r"\begin{pmatrix} 1",
        ",".join("1" * 60),
        r"\overline{AB}",
        "1}",
        "2^",
        r"\sqrt]2",
        r"\frac)1",
        r"i^{\infty}",
    ],
)
def test_what_is_no_answer_is_refused_at_once(hostile: str) -> None:
    with pytest.raises(UnreadableError):
        equal(hostile, hostile)


@given(st.text(alphabet=r"0123456789+-*/^_(){}[]|,=<>!.xyei\sqrtfracpicdot &", max_size=40))
def test_any_text_is_compared_or_refused(anything: str) -> None:
    """Nothing but UnreadableError comes out of the reader; large powers are refused, not computed."""
    from archon.evals.symbolic.answers import read

    try:
        read(anything)
    except UnreadableError:
        return


@given(st.fractions(-50, 50, max_denominator=40), st.fractions(-50, 50, max_denominator=40))
def test_sums_of_fractions_are_exact(first: object, second: object) -> None:
    """p/q + r/s written out equals its value and not its value plus a billionth."""
    from fractions import Fraction

    assert isinstance(first, Fraction)
    assert isinstance(second, Fraction)
    total = first + second
    written = f"({first.numerator})/({first.denominator})+({second.numerator})/({second.denominator})"
    assert equal(f"{total.numerator}/{total.denominator}", written)
    off = total + Fraction(1, 10**9)
    assert not equal(f"{off.numerator}/{off.denominator}", written)


def test_math_verify_is_asked_where_it_is_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library gets both answers in dollars and no timer of its own; nothing parsed is unreadable, not wrong."""
    asked: list[object] = []

    def parse(text: str, parsing_timeout: int | None) -> list[str]:
        assert parsing_timeout is None
        return [text] if "?" not in text else []

    def verify(gold: list[str], target: list[str], timeout_seconds: int | None) -> bool:
        asked.append((gold, target, timeout_seconds))
        return True

    library = types.SimpleNamespace(parse=parse, verify=verify)
    monkeypatch.setitem(sys.modules, "math_verify", library)
    assert equal("1", "2-1", "math-verify")
    assert asked == [(["$1$"], ["$2-1$"], None)]
    with pytest.raises(UnreadableError, match="reads no answer"):
        equal("1", "?", "math-verify")


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "math/test.jsonl.gz").exists(), reason=f"no MATH problems under {DATA}")
def test_references_equal_themselves_and_hardly_each_other() -> None:
    """500 MATH references: at most 3 % are unreadable (names, days, numbers in other bases), each readable one equals
    itself, and of 500 pairs of different spelling fewer than 1 % are equal (0.5 and 1/2 are spelt alike already)."""
    with gzip.open(DATA / "math/test.jsonl.gz", "rt", encoding="utf-8") as lines:
        answers = [math(json.loads(line)["solution"]) or "" for line in lines]
    drawn = random.Random(0).sample(answers, 500)
    readable = []
    for answer in drawn:
        try:
            assert equal(answer, answer), answer
            readable.append(answer)
        except UnreadableError:
            continue
    assert len(readable) >= 485
    pairs = [(a, b) for a, b in pairwise(readable) if a != b]
    assert sum(equal(a, b) for a, b in pairs) / len(pairs) < 0.01
