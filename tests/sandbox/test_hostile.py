"""Hostile programs, under bubblewrap and under the fallback: none succeeds, each ends within its limits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from archon.sandbox import Backend
from archon.sandbox.process import Worker
from tests.sandbox.conftest import LIMITS
from tests.sandbox.hostile import HOSTILE, PREAMBLE


@dataclass
class Prey:
    """What the programs are after; `touched` tells what of it they reached."""

    tcp: socket.socket
    unix: socket.socket
    datagrams: socket.socket
    folder: Path

    def fill(self, program: str) -> str:
        """The program with its targets."""
        known = {
            "@PORT@": str(self.tcp.getsockname()[1]),
            "@SOCKET@": str(self.folder / "socket"),
            "@DATAGRAMS@": str(self.folder / "datagrams"),
            "@SECRET@": str(self.folder / "secret"),
            "@VICTIM@": str(self.folder / "victim"),
            "@PARENT@": str(os.getpid()),
        }
        for mark, value in known.items():
            program = program.replace(mark, value)
        return program

    def touched(self) -> list[str]:
        found = [f"connected to {name}" for name in ("tcp", "unix") if _connected(getattr(self, name))]
        if _received(self.datagrams):
            found.append("a datagram came")
        if sorted(path.name for path in self.folder.iterdir()) != ["datagrams", "secret", "socket", "victim"]:
            found.append("files came or went")
        elif (self.folder / "victim").read_text() != "whole" or (
            self.folder / "victim"
        ).stat().st_mode & 0o7777 != 0o666:
            found.append("the victim was changed")
        return found


@pytest.fixture
def prey(monkeypatch: pytest.MonkeyPatch) -> Iterator[Prey]:
    monkeypatch.setenv("CANARY_KEY", "canary")
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as tcp:
        folder = Path(name)
        folder.chmod(0o777)
        for file, text in (("secret", "canary"), ("victim", "whole")):
            (folder / file).write_text(text)
            (folder / file).chmod(0o666)
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_UNIX) as unix, datagrams:
            for each, file in ((unix, "socket"), (datagrams, "datagrams")):
                each.bind(str(folder / file))
                (folder / file).chmod(0o777)
            unix.listen()
            for each in (tcp, unix, datagrams):
                each.setblocking(False)
            yield Prey(tcp, unix, datagrams, folder)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_hostile_program_succeeds_and_each_ends_within_its_limits(name: str, backend: Backend, prey: Prey) -> None:
    worker = Worker(backend, LIMITS, 0)
    try:
        report = worker.examine(PREAMBLE + prey.fill(HOSTILE[name]), ["assert attack() is True"], ["attack"])
    finally:
        worker.kill()
    assert report.load_error is None
    assert [passed for passed, _ in report.results] == [False]
    assert "name 'attack'" not in report.results[0][1]
    assert prey.touched() == []
    assert not _group_lives(worker.pid)


def test_the_attacks_would_succeed_without_a_sandbox(prey: Prey) -> None:
    harmless = ("TCP", "/etc/passwd", "a user's file", "keys in the environment", "own session", "symbolic link")
    for name in harmless:
        code = f"{PREAMBLE}{prey.fill(HOSTILE[name])}\nimport sys; sys.exit(0 if attack() else 1)"
        with tempfile.TemporaryDirectory() as home:
            assert _bare(code, home) == 0, name


def _bare(code: str, home: str) -> int:
    return subprocess.run([sys.executable, "-c", code], cwd=home, timeout=60).returncode


def _received(datagrams: socket.socket) -> bool:
    try:
        return bool(datagrams.recv(100))
    except BlockingIOError:
        return False


def _connected(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _group_lives(group: int) -> bool:
    """Whether a process of the worker's goes on running; one that was killed may take a moment to be gone."""
    for _ in range(500):
        states = [_state(entry, group) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        if all(state in (None, "Z", "X") for state in states):  # the dead wait for whoever inherits them
            return False
        time.sleep(0.02)
    return True


def _state(entry: Path, group: int) -> str | None:
    """State of a process of that group; None where it is of another, or gone."""
    try:
        state, _, its_group = (entry / "stat").read_text().rpartition(") ")[2].split()[:3]
    except (OSError, ValueError):
        return None
    return state if int(its_group) == group else None
