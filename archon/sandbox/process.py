"""One worker from the outside: started, given its job, listened to, and killed with all that belongs to it."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from archon.errors import ArchonError
from archon.sandbox.backends import Backend, environment
from archon.sandbox.limits import Limits

_START_SECONDS = 60.0
_MOST_REPORTED = 2**20


class SandboxError(ArchonError):
    """The sandbox itself failed: nothing is known of the program."""


@dataclass(slots=True)
class Report:
    """What a run told of its tests, in order. Where the program was lost, the test that lost it is the last."""

    results: list[tuple[bool, str]] = field(default_factory=list)
    """Passed or not, and what was wrong."""
    load_error: str | None = None
    """Why the program could not be loaded; then there are no results."""


class Worker:
    """A worker process, waiting for its one job."""

    def __init__(self, backend: Backend, limits: Limits, slot: int) -> None:
        self.slot = slot
        self._limits = limits
        self._buffer = b""
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                backend.command(limits, slot),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"the sandbox ({backend.name}) could not be started: {error}") from error

    @property
    def pid(self) -> int:
        """Its process group, which holds all its processes."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def examine(self, program: str, tests: Sequence[str], names: Sequence[str]) -> Report:
        """Runs the job. Raises SandboxError where the worker never became ready."""
        self._await_ready()
        nonce = secrets.token_hex(16)
        job = {"nonce": nonce, "program": program, "tests": list(tests), "names": list(names)}
        deadline = time.monotonic() + self._limits.wall_seconds
        report = Report()
        sent = self._sent(_framed(job | {"test_seconds": self._limits.test_seconds}), deadline)
        if not (sent and self._listen(report, nonce, deadline)) and len(report.results) < len(tests):
            report.results.append((False, "no result: time or memory was over, or the run crashed"))
        return report

    def kill(self) -> None:
        """Ends every process of the worker, which can have left neither its process group nor its namespace."""
        if self._process.returncode is None:  # once it is reaped, its number may be another's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):
                if stream:
                    stream.close()
        self._process.wait()

    def _await_ready(self) -> None:
        line = self._line(time.monotonic() + _START_SECONDS)
        if line != b"ready":
            raise SandboxError(f"the sandbox did not start: {self._complaint(line)}")

    def _complaint(self, line: bytes | None) -> str:
        if line:
            return line.decode(errors="replace")[:300]
        assert self._process.stderr is not None
        ready = select.select([self._process.stderr], [], [], 0.2)[0]
        said = os.read(self._process.stderr.fileno(), 4096).decode(errors="replace").strip() if ready else ""
        return said.splitlines()[-1][:300] if said else "it ended without a word"

    def _sent(self, data: bytes, deadline: float) -> bool:
        """Whether the job could be handed over in time."""
        assert self._process.stdin is not None
        fd, view = self._process.stdin.fileno(), memoryview(data)
        os.set_blocking(fd, False)
        while view:
            if not select.select([], [fd], [], max(0.0, deadline - time.monotonic()))[1]:
                return False
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                continue
            except OSError:
                return False
        return True

    def _listen(self, report: Report, nonce: str, deadline: float) -> bool:
        """Fills the report with the events that carry the nonce; whether the last one came."""
        seen = 0
        while seen < _MOST_REPORTED and (line := self._line(deadline)) is not None:
            seen += len(line)
            mark, _, text = line.decode(errors="replace").partition(" ")
            if mark == nonce and _noted(json.loads(text), report):
                return True
        return False

    def _line(self, deadline: float) -> bytes | None:
        """The next line; None at the end, or when the time is over."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            piece = os.read(fd, 2**16)
            if not piece or len(self._buffer) > _MOST_REPORTED:
                return None
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _framed(job: dict[str, Any]) -> bytes:
    data = json.dumps(job).encode()
    return len(data).to_bytes(4) + data


def _noted(event: dict[str, Any], report: Report) -> bool:
    """Notes an event; whether it was the last."""
    if event["event"] == "test":
        report.results.append((event["passed"], event["said"]))
        return False
    report.load_error = event.get("said")
    return True
