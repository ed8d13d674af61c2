"""The backends that work on this machine, each under the tests that ask for one."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from archon.sandbox import Backend, CodeSandbox, Limits, backends, probe

KINDS = {
    "bubblewrap": Backend("bubblewrap"),
    "bubblewrap-userns": Backend("bubblewrap", user_namespace=True),
    "landlock": Backend("landlock"),
}
LIMITS = Limits(test_seconds=1.5, wall_seconds=6, cpu_seconds=4)


@functools.cache
def _why_not(backend: Backend) -> str:
    """Why a backend cannot be tested here; empty where it can."""
    if backend not in list(backends()):
        return "not offered here (no bwrap, not Linux, or not root)"
    return probe(backend).problem


@pytest.fixture(params=KINDS, scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen = KINDS[request.param]
    if problem := _why_not(chosen):
        pytest.skip(f"{request.param}: {problem}")
    return chosen


@pytest.fixture
def sandbox(backend: Backend) -> Iterator[CodeSandbox]:
    with CodeSandbox(backend=backend, limits=LIMITS, workers=1) as opened:
        yield opened
