"""Processes of the proxy benches: pinned to a core, waited for, their CPU time read, ended on the way out."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent


@contextmanager
def process(
    command: Sequence[str], core: int, environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on one core, ended on the way out."""
    pinned = ["taskset", "-c", str(core), *command]
    log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
    child = subprocess.Popen(pinned, stdout=log, stderr=log, env={**os.environ, **(environ or {})}, cwd=ROOT)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        log.close()


def wait_for(port: int, child: subprocess.Popen[bytes], seconds: float = 240.0) -> bool:
    """Whether something listens on the port in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    return False


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children so far."""
    seconds = 0.0
    for each in [pid, *_children(pid)]:
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def _children(pid: int) -> list[int]:
    found = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return found + [grand for child in found for grand in _children(child)]
