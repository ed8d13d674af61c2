"""Workers standing ready: starting one takes ten times as long as a run, so those that are sound serve again.

A worker forks fresh processes for every job and reads nothing of it, so that no job finds a trace of another
(`inside/worker.py`). One that a job may have left in disorder is killed and replaced.
"""

from __future__ import annotations

import compileall
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from archon.sandbox.backends import INSIDE, Backend
from archon.sandbox.limits import Limits
from archon.sandbox.process import Worker


class Pool:
    """Lends workers, each to one borrower at a time. Thread-safe."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend, self._limits = backend, limits
        self._idle: list[Worker] = []
        self._slots = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        compileall.compile_dir(INSIDE, quiet=2)  # a worker may write nothing, and compiling takes as long as starting

    @contextmanager
    def worker(self, *, new: bool = False) -> Iterator[Worker]:
        """A worker for one job, a `new` one or one that has served. Raises SandboxError where none could be started."""
        lent = (None if new else self._waiting()) or self._started()
        try:
            yield lent
        finally:
            self._back(lent)

    def close(self) -> None:
        """Ends the waiting workers; one that comes back later is ended as well."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def _waiting(self) -> Worker | None:
        """An idle worker that is still alive."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                worker = self._idle.pop()
            if worker.alive:
                return worker
            worker.kill()

    def _back(self, worker: Worker) -> None:
        with self._lock:
            kept = worker.sound and not self._closed
            if kept:
                self._idle.append(worker)
        if not kept:
            worker.kill()

    def _started(self) -> Worker:
        with self._lock:
            slot = next(self._slots)
        return Worker(self._backend, self._limits, slot)
