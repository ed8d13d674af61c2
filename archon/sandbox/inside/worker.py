"""A worker's life: confine itself, then serve jobs one after the other, each by two fresh processes.

Started as `python -c "… main()" SETTINGS` with a Unix socket, the control, as standard input. The worker itself reads
nothing of a job: it says that it is ready, receives a socket for the next job, forks the two processes, and when the
examiner has ended it kills the candidate and is ready again. What the two hold:

    candidate   one end of a socket to the examiner, forked before the job's socket is there
    examiner    the other end, and the job's socket, over which job and report go

Neither holds the control, so no job can reach into another one, and nothing they do to themselves outlives them.
"""

from __future__ import annotations

import _socket
import _thread
import array
import contextlib
import ctypes
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from . import candidate, confine, examiner
from .frames import receive

CONFINED = b"+"
_COMMON = (
    "bisect collections copy dataclasses datetime decimal fractions functools heapq itertools math random re string"
)
_KILLED = 9


def main() -> None:
    """Serves jobs until the parent is gone."""
    settings = json.loads(sys.argv[1])
    control = _socket.socket(fileno=os.dup(0))
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        _import_common()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        confine.together(settings, libc)
    except Exception as error:  # told to the parent, which knows what to make of it
        control.send(f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    while True:
        _serve(settings, libc, control)


def _serve(settings: dict[str, Any], libc: ctypes.CDLL, control: _socket.socket) -> None:
    """One job."""
    ours, theirs = _socket.socketpair()

    def hold_program() -> None:
        control.close()
        ours.close()
        confine.alone(settings, libc)
        theirs.send(CONFINED)
        candidate.serve(theirs.fileno())

    def hold_tests() -> None:
        control.close()
        theirs.close()
        confine.alone(settings, libc)
        _examine(ours.fileno(), job)

    candidate_id = _forked(hold_program)
    control.send(b"r")
    job = _received(control)
    examiner_id = _forked(hold_tests)
    ours.close()
    theirs.close()
    os.close(job)
    os.waitpid(examiner_id, 0)
    os.kill(candidate_id, _KILLED)
    os.waitpid(candidate_id, 0)


def _examine(program: int, job: int) -> None:
    """Receives a job and examines; the candidate's first byte says that it is confined."""
    message = receive(job)
    _thread.start_new_thread(_watch, (job,))
    if os.read(program, 1) != CONFINED:
        _tell(job, message, "broken")
        return
    _tell(job, message, "begun")  # before the program is read: whatever ends the run from now on may be its doing
    examiner.examine(message, program, job)


def _tell(job: int, message: dict[str, Any], event: str) -> None:
    os.write(job, f"{message['nonce']} {json.dumps({'event': event})}\n".encode())


def _forked(run: Callable[[], None]) -> int:
    """The id of a process that runs `run` and ends, whatever becomes of it. Its random numbers repeat."""
    child = os.fork()
    if not child:
        sys.modules["random"].seed(0)  # which a fork seeds anew
        with contextlib.suppress(BaseException):  # there is nobody to tell: the other side sees the socket's end
            run()
        os._exit(0)
    return child


def _received(control: _socket.socket) -> int:
    """The descriptor of the next job's socket; ends the worker where the parent is gone."""
    held = array.array("i")
    _, ancillary, _, _ = control.recvmsg(1, _socket.CMSG_SPACE(held.itemsize))
    for _level, _kind, data in ancillary:
        held.frombytes(data[: held.itemsize])
    if not held:
        os._exit(0)
    return held[0]


def _import_common() -> None:
    """Imports ahead what programs import most."""
    for module in _COMMON.split():
        importlib.import_module(module)


def _watch(job: int) -> None:
    """Ends the examiner when the parent has let go of its job, however that came."""
    while os.read(job, 1):
        pass
    os._exit(1)
