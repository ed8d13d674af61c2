"""The one error this package raises on purpose: a line that says what is wrong, where, and how to mend it."""

from __future__ import annotations


class SpecDecError(Exception):
    """A wrong model pair, prompt, setting or file, or a model that went numerically wrong. Never raised for a bug."""
