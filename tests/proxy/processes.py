"""A real `archon serve` in a process of its own, for tests that send it signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def process(file: Path, store: str, workers: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A real `archon serve`, in a process group of its own."""
    main = "import sys; from archon.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "serve", str(file), "--store", store, "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
    running = subprocess.Popen(
        [*command, "--workers", str(workers), "--log-level", "error"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, start_new_session=True,
    )  # fmt: skip
    try:
        yield running, _port(running)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(90)
        if running.stdout:
            running.stdout.close()


def _port(running: subprocess.Popen[str]) -> int:
    assert running.stdout is not None
    said = []
    for line in running.stdout:
        said.append(line)
        if found := re.search(r"127\.0\.0\.1:(\d+)", line):
            return int(found.group(1))
    raise AssertionError("the server did not start: " + "".join(said))
