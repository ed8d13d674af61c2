"""One worker from the outside: started, given jobs, listened to, and killed with all that belongs to it."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from archon.errors import ArchonError
from archon.sandbox.backends import Backend, environment
from archon.sandbox.limits import Limits
from archon.sandbox.line import MOST, Line

_START_SECONDS = 60.0
_NONE = (False, "no result: time or memory was over, or the run crashed")


class SandboxError(ArchonError):
    """The sandbox itself failed: nothing is known of the program."""


@dataclass(slots=True)
class Report:
    """What a run told of its tests, in order. Where the program was lost, the test that lost it is the last."""

    results: list[tuple[bool, str]] = field(default_factory=list)
    """Passed or not, and what was wrong."""
    load_error: str | None = None
    """Why the program could not be loaded; then there are no results."""
    begun: bool = False
    """Whether the processes of the run stood before the program was read; what ended it earlier was not its doing."""


class Worker:
    """A worker process. It serves one job at a time, each with fresh processes of its own."""

    def __init__(self, backend: Backend, limits: Limits, slot: int) -> None:
        self.sound = True
        """False once a job was not seen to its end: then the worker must be killed."""
        self._limits = limits
        self._control, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                backend.command(limits, slot),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._control.close()
            raise SandboxError(f"the sandbox ({backend.name}) could not be started: {error}") from error
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """Its process group, which holds all its processes."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def examine(self, program: str, tests: Sequence[str], names: Sequence[str]) -> Report:
        """Runs a job. Raises SandboxError where the worker did not become ready, could not confine the job, or ended
        before the program was read."""
        self.sound = False
        self._await_ready()
        nonce = secrets.token_hex(16)
        job = {"nonce": nonce, "program": program, "tests": list(tests), "names": list(names)}
        with Line(self._given(), time.monotonic() + self._limits.wall_seconds) as line:
            report = Report()
            sent = line.send(_framed(job | {"test_seconds": self._limits.test_seconds}))
            self.sound = sent and _listened(line, report, nonce, len(tests))
        if not report.begun:
            raise SandboxError(f"the sandbox ended before the program was read: {self._complaint(b'')}")
        if report.load_error is None and not self.sound and len(report.results) < len(tests):
            report.results.append(_NONE)
        return report

    def kill(self) -> None:
        """Ends every process of the worker, which can have left neither its process group nor its namespace."""
        if self._process.returncode is None:  # once it is reaped, its number may be another's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._control.close()
        if self._process.stderr:
            self._process.stderr.close()
        self._process.wait()

    def _given(self) -> socket.socket:
        """The socket of the next job, its other end handed to the worker."""
        ours, its = socket.socketpair()
        try:
            socket.send_fds(self._control, [b"j"], [its.fileno()])
        except OSError as error:
            ours.close()
            raise SandboxError(f"the sandbox ended while it was idle: {self._complaint(b'')}") from error
        finally:
            its.close()
        return ours

    def _await_ready(self) -> None:
        said = b""
        if select.select([self._control], [], [], _START_SECONDS)[0]:
            said = self._control.recv(4096)
        if said != b"r":
            raise SandboxError(f"the sandbox did not start: {self._complaint(said)}")

    def _complaint(self, said: bytes) -> str:
        assert self._process.stderr is not None
        if not said and select.select([self._process.stderr], [], [], 0.2)[0]:
            said = os.read(self._process.stderr.fileno(), 4096)
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it ended without a word"


def _listened(line: Line, report: Report, nonce: str, tests: int) -> bool:
    """Fills the report with the events that carry the nonce; whether the last one came."""
    seen = 0
    while seen < MOST and (said := line.receive()) is not None:
        seen += len(said)
        mark, _, text = said.decode(errors="replace").partition(" ")
        with suppress(ValueError, TypeError, KeyError, AttributeError):  # a test may have spoilt its own event
            if mark == nonce and _noted(json.loads(text), report, tests):
                return True
    return False


def _framed(job: dict[str, Any]) -> bytes:
    data = json.dumps(job).encode()
    return len(data).to_bytes(4) + data


def _noted(event: dict[str, Any], report: Report, tests: int) -> bool:
    """Notes an event; whether it was the last. An event that a test has spoilt leaves a test without a result."""
    if event["event"] == "broken":
        raise SandboxError("the sandbox could not confine the program")
    if event["event"] == "begun":
        report.begun = True
        return False
    if event["event"] == "test":
        if not len(report.results) <= event["number"] < tests:
            return False  # forged by a test: there is no such test, or it has its result
        report.results += [_NONE] * (event["number"] - len(report.results))
        report.results.append((event["passed"] is True, str(event["said"])))
        return False
    report.load_error = event.get("said")
    return True
