"""A seccomp filter: the calls of `syscalls` and no others, some only with harmless arguments.

A call that is not let through fails with EPERM, as Python programs expect; a calling convention that is not the
machine's own ends the process. `clone3`, whose flags a filter cannot see, fails with ENOSYS, so that libc falls back to
`clone`, which is let through for threads alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from .syscalls import AUDIT, numbers

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000
_FCNTL = (0, 1, 2, 3, 4, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC; never F_SETOWN
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX

_UNIX = 1
# SOCK_STREAM, alone and with SOCK_NONBLOCK, SOCK_CLOEXEC or both. A pair of datagram sockets is refused: they can be
# sent on to any named Unix socket of the machine, which no other call and no Landlock rule would stop.
_STREAM = tuple(1 | flags for flags in (0, 0x800, 0x80000, 0x80800))

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, value (struct sock_filter)."""


def program(machine: str, pid: int) -> list[Instruction]:
    """The filter for the process `pid`, which may signal itself and nobody else."""
    of = numbers(machine)
    special = {
        of["clone"]: [(_LOAD, 0, 0, _ARGUMENTS), (_ANY_BIT, 0, 1, _CLONE_THREAD), _allow(), _refuse(errno.EPERM)],
        of["clone3"]: [_refuse(errno.ENOSYS)],
        of["kill"]: _argument_in(0, (pid,)),
        of["tgkill"]: _argument_in(0, (pid,)),
        of["fcntl"]: _argument_in(1, _FCNTL),
        of["ioctl"]: _argument_in(1, _IOCTL),
        of["prlimit64"]: _reads_own_limits(),
        of["socketpair"]: _stream_pair(),
    }
    made: list[Instruction] = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, AUDIT[machine]), (_RETURN, 0, 0, _KILL)]
    made += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _X32), _refuse(errno.ENOSYS)]
    for number in of.values():
        then = special.get(number, [_allow()])
        made += [(_EQUAL, 0, len(then), number), *then]
    return [*made, _refuse(errno.EPERM)]


def install(libc: ctypes.CDLL) -> None:
    """Puts the filter on this process, for good. Raises OSError where the kernel refuses, KeyError without a table."""
    code = b"".join(struct.pack("HBBI", *each) for each in program(os.uname().machine, os.getpid()))
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(22, 2, ctypes.c_char_p(filter_), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp filter refused")


def _allow() -> Instruction:
    return (_RETURN, 0, 0, _ALLOW)


def _refuse(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _argument_in(index: int, values: Sequence[int]) -> list[Instruction]:
    """Allows the call where the low half of an argument (all of it, for an int) is one of `values`."""
    tests = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * index), *tests, _refuse(errno.EPERM), _allow()]


def _stream_pair() -> list[Instruction]:
    """socketpair(AF_UNIX, SOCK_STREAM, …)."""
    kinds = _argument_in(1, _STREAM)
    return [(_LOAD, 0, 0, _ARGUMENTS), (_EQUAL, 1, 0, _UNIX), _refuse(errno.EPERM), *kinds]


def _reads_own_limits() -> list[Instruction]:
    """prlimit64(0, resource, NULL, old): both halves of the pointer are looked at."""
    refused = 6
    return [
        (_LOAD, 0, 0, _ARGUMENTS),
        (_EQUAL, 0, refused - 1, 0),
        (_LOAD, 0, 0, _ARGUMENTS + 16),
        (_EQUAL, 0, refused - 3, 0),
        (_LOAD, 0, 0, _ARGUMENTS + 20),
        (_EQUAL, 0, refused - 5, 0),
        _allow(),
        _refuse(errno.EPERM),
    ]
