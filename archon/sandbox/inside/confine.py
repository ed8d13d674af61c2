"""Giving things up: user, privileges, files, resources, system calls. Each step is for good."""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Mapping
from typing import Any

from . import landlock, seccomp

_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_KEEPCAPS, _SET_NO_NEW_PRIVS = 1, 4, 8, 38
_READ_SEARCH = 1 << 2
_KILLED = 9


def together(settings: Mapping[str, Any], libc: ctypes.CDLL) -> None:
    """What the two processes give up before they part: the user, new privileges, files."""
    if settings["uid"] is not None:
        _become(settings["uid"], libc, keeps_reading=settings["keeps_reading"])
    if sys.platform != "linux":
        return
    libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) and settings["strict"]:
        raise OSError("PR_SET_NO_NEW_PRIVS refused")
    if settings["readable"] is not None:
        landlock.restrict(libc, settings["readable"])


def alone(settings: Mapping[str, Any], libc: ctypes.CDLL) -> None:
    """What each gives up for itself: resources, and all system calls but those of a computing Python."""
    if sys.platform == "linux":
        libc.prctl(_SET_DEATH_SIGNAL, _KILLED, 0, 0, 0)
    for name, most in settings["limits"].items():
        _limit(name, most, settings["strict"])
    try:
        seccomp.install(libc)
    except (OSError, KeyError, AttributeError):
        if settings["strict"]:
            raise


def _become(uid: int, libc: ctypes.CDLL, *, keeps_reading: bool) -> None:
    """Another user, without any capability, or with CAP_DAC_READ_SEARCH alone."""
    libc.prctl(_SET_KEEPCAPS, int(keeps_reading), 0, 0, 0)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if keeps_reading:
        header, data = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", _READ_SEARCH, _READ_SEARCH, 0, 0, 0, 0)
        if libc.capset(header, data):
            raise OSError(ctypes.get_errno(), "capset refused")


def _limit(name: str, most: int, strict: bool) -> None:
    kind = getattr(resource, f"RLIMIT_{name}", None)
    try:
        if kind is None:
            raise OSError(f"this system has no RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (bound, bound))
    except (OSError, ValueError):
        if strict:
            raise
