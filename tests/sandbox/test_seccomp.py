"""The filter, judged by an interpreter of its few instructions: what is let through on each machine, and how."""

from __future__ import annotations

import errno

import pytest

from archon.sandbox.inside import seccomp
from archon.sandbox.inside.syscalls import AUDIT, numbers

PID = 4242
ALLOW, REFUSE, NOSYS, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
MACHINES = tuple(AUDIT)


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the filter returns for a call (seccomp_data: nr, arch, instruction pointer, six 64-bit arguments)."""
    data = {0: number, 4: AUDIT[machine] if arch is None else arch}
    for place in range(6):
        value = arguments[place] if place < len(arguments) else 0
        data |= {16 + 8 * place: value & 0xFFFFFFFF, 20 + 8 * place: value >> 32 & 0xFFFFFFFF}
    code, at, held = seccomp.program(machine, PID), 0, 0
    while True:
        kind, if_true, if_false, value = code[at]
        at += 1
        if kind == 0x06:
            return value
        if kind == 0x20:
            held = data[value]
            continue
        met = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[kind]
        at += if_true if met else if_false


@pytest.mark.parametrize("machine", MACHINES)
def test_what_python_needs_is_let_through(machine: str) -> None:
    of = numbers(machine)
    for name in ("read", "write", "mmap", "openat", "futex", "exit_group", "getrandom"):
        assert verdict(machine, of[name]) == ALLOW


def test_pairs_of_sockets_are_of_streams_alone() -> None:
    for machine in MACHINES:
        number = numbers(machine)["socketpair"]
        for flags in (0, 0x800, 0x80000, 0x80800):
            assert verdict(machine, number, 1, 1 | flags) == ALLOW
            assert verdict(machine, number, 1, 2 | flags) == REFUSE  # SOCK_DGRAM
        assert verdict(machine, number, 1, 5) == REFUSE  # SOCK_SEQPACKET
        assert verdict(machine, number, 2, 1) == REFUSE


OUTSIDE = {  # number on x86-64, on 64-bit ARM
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "unshare": (272, 97),
    "mount": (165, 40),
    "setns": (308, 268),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "memfd_create": (319, 279),
    "setsid": (112, 157),
    "setrlimit": (160, 164),
    "setuid": (105, 146),
    "pidfd_open": (434, 434),
    "open_by_handle_at": (304, 265),
    "prctl": (157, 167),
    "seccomp": (317, 277),
    "unlinkat": (263, 35),
    "renameat2": (316, 276),
    "fchmodat": (268, 53),
}


@pytest.mark.parametrize("place", range(len(MACHINES)))
@pytest.mark.parametrize("name", OUTSIDE)
def test_what_reaches_outside_is_refused(name: str, place: int) -> None:
    assert verdict(MACHINES[place], OUTSIDE[name][place]) == REFUSE


def test_processes_are_refused_and_threads_are_not() -> None:
    for machine in MACHINES:
        of = numbers(machine)
        assert verdict(machine, of["clone"], 0x3D0F00) == ALLOW  # CLONE_THREAD and what pthreads set beside it
        assert verdict(machine, of["clone"], 0x01200011) == REFUSE  # what fork sets
        assert verdict(machine, of["clone3"]) == NOSYS
    assert verdict("x86_64", 57) == REFUSE
    assert verdict("x86_64", 58) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_only_the_process_itself_may_be_signalled(machine: str) -> None:
    of = numbers(machine)
    for name in ("kill", "tgkill"):
        assert verdict(machine, of[name], PID, 9) == ALLOW
        for other in (PID + 1, 1, 0, -1 & 0xFFFFFFFFFFFFFFFF, -PID & 0xFFFFFFFFFFFFFFFF):
            assert verdict(machine, of[name], other, 9) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_that_reach_further_are_refused(machine: str) -> None:
    of = numbers(machine)
    assert verdict(machine, of["fcntl"], 3, 1030) == ALLOW
    assert verdict(machine, of["fcntl"], 3, 8) == REFUSE  # F_SETOWN
    assert verdict(machine, of["ioctl"], 0, 0x5413) == ALLOW
    assert verdict(machine, of["ioctl"], 0, 0x5412) == REFUSE  # TIOCSTI
    assert verdict(machine, of["prlimit64"], 0, 7, 0, 1 << 40) == ALLOW
    for pid, new in ((1, 0), (0, 8), (0, 1 << 40)):
        assert verdict(machine, of["prlimit64"], pid, 7, new) == REFUSE


def test_calls_of_another_convention_end_the_process() -> None:
    assert verdict("x86_64", 20, arch=0x40000003) == KILL
    assert verdict("x86_64", 0x40000000 + 1) == NOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_no_jump_is_too_long_for_its_byte(machine: str) -> None:
    assert all(0 <= each < 256 for _, *jumps, _ in seccomp.program(machine, PID) for each in jumps)
