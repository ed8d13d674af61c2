"""A comparison with a hard time limit: the work is done in a child process that is killed when it overruns.

The child starts at the first comparison (about a second, for its library), serves one pair at a time, and is started
anew after a kill. It inherits no environment variable but those a Python process needs, so no secret is in its reach.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from archon.evals.symbolic.tokens import UnreadableError

START_SECONDS = 60.0
"""For the child's start and the import of its library, beside the time of the comparison."""
_ENVIRONMENT = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP")
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from archon.evals.symbolic.serve import serve; serve()"
)


class ComparisonError(Exception):
    """The comparison gave no verdict: its time was over, or the process failed."""


class SymbolicWorker:
    """Compares pairs of answers one after the other in a child process.

    Args:
        engine: the library that compares.
        timeout: seconds one comparison may take.
    """

    def __init__(self, engine: str = "sympy", timeout: float = 10.0) -> None:
        self.engine = engine
        self.timeout = timeout
        self._held = _Held(json.dumps({"reference": "1", "answer": "1", "engine": engine}))
        weakref.finalize(self, self._held.stop)

    async def equal(self, reference: str, answer: str) -> bool:
        """Whether the two are equal as mathematics.

        Raises:
            UnreadableError: one is not mathematics of a known form.
            ComparisonError: no verdict in time, or the child failed.
        """
        asked = json.dumps({"reference": reference, "answer": answer, "engine": self.engine})
        loop = asyncio.get_running_loop()
        reply = await loop.run_in_executor(self._held.thread, self._held.ask, asked, self.timeout)
        if "unreadable" in reply:
            raise UnreadableError(reply["unreadable"])
        if "failed" in reply:
            raise ComparisonError(reply["failed"])
        return bool(reply["equal"])

    @property
    def process_id(self) -> int | None:
        """The child's; None where none runs."""
        return self._held.process_id

    def close(self) -> None:
        """Ends the child. Idempotent; a later comparison starts another."""
        self._held.stop()


class _Held:
    """The child and the one thread that talks to it; apart from the worker, so that its end can be a finaliser's."""

    def __init__(self, warm_up: str) -> None:
        self._warm_up = warm_up
        self.thread = ThreadPoolExecutor(1, "archon-symbolic")
        self._child: subprocess.Popen[str] | None = None

    @property
    def process_id(self) -> int | None:
        return self._child.pid if self._child else None

    def ask(self, line: str, timeout: float) -> dict[str, Any]:
        """One question, one reply; the child is killed if it takes longer than `timeout`."""
        child = self._running()
        reply = self._line(child, line, timeout)
        if reply:
            answer: dict[str, Any] = json.loads(reply)
            return answer
        self.stop()
        return {"failed": f"no verdict within {timeout:g} s, or the comparing process ran out of memory"}

    def _running(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            self.stop()
            self._child = _start()
            self._line(self._child, self._warm_up, START_SECONDS)
        return self._child

    @staticmethod
    def _line(child: subprocess.Popen[str], line: str, timeout: float) -> str:
        """The child's reply; "" when it had to be killed or died."""
        assert child.stdin is not None
        assert child.stdout is not None
        timer = threading.Timer(timeout, child.kill)
        timer.daemon = True
        timer.start()
        try:
            child.stdin.write(line + "\n")
            child.stdin.flush()
            return child.stdout.readline()
        except (BrokenPipeError, ValueError):
            return ""
        finally:
            timer.cancel()

    def stop(self) -> None:
        """Kills the child and frees its pipes."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.communicate()


def child_environment() -> dict[str, str]:
    """The variables the child gets: what a Python process needs and nothing else."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=child_environment(),
    )
