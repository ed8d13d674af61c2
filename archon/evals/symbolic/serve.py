"""The process that compares: reads one JSON object a line, answers one a line, until its input ends."""

from __future__ import annotations

import json
import sys
from typing import Any

MEMORY_BYTES = 2 << 30


def serve() -> None:
    """Answers {"reference", "answer", "engine"} with {"equal": bool}, {"unreadable": why} or {"failed": why}."""
    _bound_memory()
    for line in sys.stdin:
        print(json.dumps(_reply(json.loads(line))), flush=True)


def _reply(asked: dict[str, Any]) -> dict[str, Any]:
    from archon.evals.symbolic.compare import equal
    from archon.evals.symbolic.tokens import UnreadableError

    try:
        return {"equal": equal(asked["reference"], asked["answer"], asked["engine"])}
    except UnreadableError as error:
        return {"unreadable": str(error)}
    except Exception as error:  # whatever a library makes of hostile text is this pair's failure, not the process's end
        return {"failed": f"{type(error).__name__}: {error}"[:300]}


def _bound_memory() -> None:
    """Where the system can: an answer that would take all memory fails alone."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
