"""The one error this package raises on purpose: a line that says what is wrong, where, and how to mend it."""

from __future__ import annotations


class SpecDecError(Exception):
    """A wrong model pair, prompt, setting or file, or a model that went numerically wrong. Never raised for a bug."""


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
