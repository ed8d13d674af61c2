"""Numbers as people and models write them, in one canonical form: "1,234.50" → "1234.5", "1/2" → "0.5", "−05" → "-5".

`NUMERAL` finds them, `canonical` names them. A digit that belongs to a word (`x2`, `3rd`) or an exponent (`m^2`) is no
number. Signs count only where nothing stands before them that could be subtracted from.
"""

from __future__ import annotations

import re
from fractions import Fraction

_MOST_DIGITS = (
    1000  # beyond this a number is compared as it was written: Python refuses to convert from 4,300 digits on
)

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_PLAIN = rf"(?>{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
NUMERAL = re.compile(
    rf"""
    (?:(?<![\w)\]}}%-])(?P<minus>-))?
    (?:\\?[$€£¥]\ ?(?P<minus_inside>-)?)?
    (?:
        (?P<mixed>[0-9]{{1,9}}\ ?)?\\[dt]?frac\ ?
        (?:\{{\ ?(?P<frac_minus>-)?(?P<top>{_PLAIN})\ ?\}}\ ?\{{\ ?(?P<bottom>{_PLAIN})\ ?\}}
          |(?P<tops>[0-9])\ ?(?P<bottoms>[0-9]))
      | (?P<whole>[0-9]{{1,9}})\ (?P<part>[0-9]{{1,4}})\ ?/\ ?(?P<parts>[0-9]{{1,4}})(?![0-9/])
      | (?P<number>{_PLAIN})(?:[eE](?P<power>[+-]?[0-9]{{1,3}})(?!\w))?(?:\ ?/\ ?(?P<divisor>{_PLAIN})(?![0-9/]))?
        (?!(?:st|nd|rd|th)\b)
    )
    | \\[A-Za-z]+ | [^\W\d]\w* | \^\{{?-?[0-9]+ | [0-9]+(?:st|nd|rd|th)\b
    """,
    re.VERBOSE,
)
"""Matches numbers, and, so as to step over them, words and exponents, for which `canonical` is None."""

_LEVELLED = str.maketrans({"−": "-", "–": "-", "﹣": "-", "－": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " "})


def clean(text: str) -> str:
    """The text with one kind of minus and space, and LaTeX's spaced thousands (`1{,}234`, `1,\\!234`) closed up."""
    return text.translate(_LEVELLED).replace("{,}", ",").replace("\\!", "").replace("\\,", "")


def canonical(match: re.Match[str]) -> str | None:
    """The canonical form of what `NUMERAL` matched; None for a word, an exponent or a division by zero."""
    negative = bool(match["minus"]) != bool(match["minus_inside"] or match["frac_minus"])
    if match["part"]:
        value = _ratio(match["part"], match["parts"], match["whole"])
    elif match["top"] or match["tops"]:
        value = _ratio(match["top"] or match["tops"], match["bottom"] or match["bottoms"], match["mixed"])
    elif match["divisor"]:
        value = _ratio(match["number"], match["divisor"])
    elif match["number"]:
        value = _decimal(match["number"], int(match["power"] or 0))
    else:
        return None
    return f"-{value}" if negative and value not in (None, "0") else value


def _decimal(written: str, power: int = 0) -> str:
    """Plain digits without needless zeros; `power` moves the point (at most 999 places)."""
    whole, _, part = written.replace(",", "").partition(".")
    if power > 0:
        whole, part = whole + part[:power].ljust(power, "0"), part[power:]
    elif power < 0:
        padded = whole.rjust(-power, "0")
        whole, part = padded[:power], padded[power:] + part
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    return f"{whole}.{part}" if part else whole


def _ratio(top: str, bottom: str, whole: str | None = None) -> str | None:
    """A fraction as a decimal where that ends, else in lowest terms `p/q`."""
    if max(len(top), len(bottom)) > _MOST_DIGITS:
        return f"{_decimal(top)}/{_decimal(bottom)}"
    divisor = Fraction(_decimal(bottom))
    if not divisor:
        return None
    value = Fraction(_decimal(top)) / divisor + int(whole or 0)
    places = _places(value.denominator)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    shifted = str(value.numerator * 10**places // value.denominator).rjust(places + 1, "0")
    return _decimal(f"{shifted[: len(shifted) - places]}.{shifted[len(shifted) - places :]}")


def _places(denominator: int) -> int | None:
    """Decimals a fraction in lowest terms needs; None where its expansion never ends."""
    counts = []
    for prime in (2, 5):
        count = 0
        while denominator % prime == 0:
            denominator //= prime
            count += 1
        counts.append(count)
    return max(counts) if denominator == 1 else None
