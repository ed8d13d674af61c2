"""Workers standing ready. Every job gets a fresh one; starting it ahead hides the time that Python takes to start."""

from __future__ import annotations

import compileall
import itertools
import threading
from contextlib import suppress

from archon.sandbox.backends import INSIDE, Backend
from archon.sandbox.limits import Limits
from archon.sandbox.process import SandboxError, Worker


class Pool:
    """Hands out workers, each once; keeps at most `spares` ready. Thread-safe."""

    def __init__(self, backend: Backend, limits: Limits, spares: int) -> None:
        self._backend, self._limits, self._size = backend, limits, spares
        self._spares: list[Worker] = []
        self._slots = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        compileall.compile_dir(INSIDE, quiet=2)  # a worker may write nothing, and compiling takes as long as starting

    def take(self) -> Worker:
        """A worker, the one that has waited longest; its successor is started. Raises SandboxError."""
        with self._lock:
            worker = self._waiting() or self._started()
            with suppress(SandboxError):  # the next one who needs it will meet the same, and say so
                if len(self._spares) < self._size and not self._closed:
                    self._spares.append(self._started())
        return worker

    def close(self) -> None:
        """Ends the waiting workers; none is kept ready any more."""
        with self._lock:
            self._closed = True
            while self._spares:
                self._spares.pop().kill()

    def _waiting(self) -> Worker | None:
        """A spare that is still alive."""
        while self._spares:
            spare = self._spares.pop(0)
            if spare.alive:
                return spare
            spare.kill()
        return None

    def _started(self) -> Worker:
        return Worker(self._backend, self._limits, next(self._slots))
