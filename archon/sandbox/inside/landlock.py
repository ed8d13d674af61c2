"""Landlock: the file system closed but for a few paths to read, and the network with it (linux/landlock.h).

Refuses every right that the running kernel knows of (its ABI tells), then gives back reading below the paths named.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every machine
_READ_FILE, _READ_DIR, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_RIGHTS_BY_ABI = ((1, 13), (2, 14), (3, 15), (5, 16))
_TCP = 0b11  # bind, connect; from ABI 4
_SCOPES = 0b11  # abstract unix sockets, signals; from ABI 6


def abi(libc: ctypes.CDLL) -> int:
    """The kernel's Landlock version; 0 where it has none."""
    return max(0, int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)))


def restrict(libc: ctypes.CDLL, readable: Iterable[str], writable: Iterable[str] = ("/dev/null",)) -> None:
    """Closes everything but `readable` trees and `writable` files, for this process and its children, for good.

    Raises OSError where the kernel has no Landlock. `PR_SET_NO_NEW_PRIVS` must be set.
    """
    version = abi(libc)
    if not version:
        raise OSError("this kernel has no Landlock")
    ruleset = _ruleset(libc, version)
    for path in readable:
        _allow(libc, ruleset, path, _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0))  # noqa: PTH112
    for path in writable:
        _allow(libc, ruleset, path, _READ_FILE | _WRITE_FILE)
    _checked(libc.syscall(_RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _ruleset(libc: ctypes.CDLL, version: int) -> int:
    bits = max(count for since, count in _RIGHTS_BY_ABI if since <= version)
    words = [(1 << bits) - 1, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0]
    size = 8 if version < 4 else 16 if version < 6 else 24
    attribute = struct.pack("QQQ", *words)[:size]
    return _checked(libc.syscall(_CREATE, attribute, ctypes.c_size_t(size), 0), "landlock_create_ruleset")


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    _checked(libc.syscall(_ADD, ruleset, 1, struct.pack("=Qi", rights, fd), 0), f"landlock_add_rule {path}")
    os.close(fd)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return int(result)
