"""A worker's life: confine itself, split in two, say "ready", serve one job, end.

Started as `python -c "… main()" SETTINGS` with the job to come on standard input and the report to go to standard
output. The program's process holds neither: it has one socket, and /dev/null in the place of the three standard files.
"""

from __future__ import annotations

import _socket
import _thread
import contextlib
import ctypes
import json
import os
import sys
from typing import Any

from . import candidate, confine, examiner
from .frames import receive


def main() -> None:
    """Serves one job."""
    settings = json.loads(sys.argv[1])
    report = os.dup(1)
    try:
        side, program = _split(settings, report)
    except Exception as error:  # told to the parent, which knows what to make of it
        os.write(report, f"broken {type(error).__name__}: {error}\n".encode())
        os._exit(1)
    if side == "candidate":
        _candidate(program)
    os.write(report, b"ready\n")
    job = receive(0)
    _thread.start_new_thread(_watch, ())
    examiner.examine(job, program, report)
    os._exit(0)


def _split(settings: dict[str, Any], report: int) -> tuple[str, int]:
    """Which of the two processes this is, confined, and its end of the socket."""
    libc = ctypes.CDLL(None, use_errno=True)
    ours, theirs = (each.detach() for each in _socket.socketpair())
    null = os.open(os.devnull, os.O_RDWR)
    confine.together(settings, libc)
    child = os.fork()
    kept, dropped = (ours, [theirs]) if child else (theirs, [ours, report])
    for fd in (1, 2) if child else (0, 1, 2):
        os.dup2(null, fd)
    for fd in (*dropped, null):
        os.close(fd)
    confine.alone(settings, libc, child=not child)
    return "examiner" if child else "candidate", kept


def _candidate(program: int) -> None:
    with contextlib.suppress(BaseException):  # the other side is gone, or the program broke this one: nobody to tell
        candidate.serve(program)
    os._exit(0)


def _watch() -> None:
    """Ends the worker when the parent is gone, however it went."""
    while os.read(0, 1):
        pass
    os._exit(1)
