"""A sandbox for tests of what stands on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from archon.errors import ConfigError
from archon.sandbox import CodeSandbox


def opened() -> Iterator[CodeSandbox]:
    """The strongest sandbox that works on this machine; the tests that need it are skipped where none does."""
    with CodeSandbox() as sandbox:
        try:
            sandbox.examine("", [])
        except ConfigError as error:
            pytest.skip(str(error))
        yield sandbox
