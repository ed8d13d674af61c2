"""What holds here: every guarantee is tried out in a worker, by a program that does its best to break it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archon.errors import ConfigError
from archon.sandbox.backends import Backend, backends, shown_files, shown_folders
from archon.sandbox.limits import Limits
from archon.sandbox.process import SandboxError, Worker

GUARANTEES: Mapping[str, str] = MappingProxyType(
    {
        "no network": "connects()",
        "no files but Python's": "reads()",
        "nothing can be written": "writes()",
        "no further process": "forks()",
        "no other program": "executes()",
        "no signal to others": "signals()",
        "no look into others": "traces()",
        "clean environment": "environment()",
        "memory bounded": "allocates()",
        "processor time bounded": "unbounded()",
    }
)
"""Guarantee → what would break it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one backend guarantees on this machine."""

    backend: Backend
    holds: Mapping[str, bool]
    """Every guarantee, whether it held; empty where no worker started."""
    problem: str = ""
    """Why no worker started."""

    @property
    def safe(self) -> bool:
        """Whether every guarantee holds."""
        return bool(self.holds) and all(self.holds.values())


def probe(backend: Backend, limits: Limits = Limits()) -> Finding:
    """Tries every guarantee out. Takes a fraction of a second."""
    tests = [f"assert {attempt} is False" for attempt in GUARANTEES.values()]
    names = [attempt.removesuffix("()") for attempt in GUARANTEES.values()]
    worker = None
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            program = _PROGRAM.format(
                port=server.getsockname()[1],
                parent=os.getpid(),
                memory=limits.memory_mb,
                shown={*shown_files(), *shown_folders()},
            )
            worker = Worker(backend, limits, 0)
            report = worker.examine(program, tests, names)
    except (SandboxError, OSError) as error:
        return Finding(backend, {}, str(error))
    finally:
        if worker:
            worker.kill()
    if len(report.results) < len(tests):
        return Finding(backend, {}, f"the probe did not come to its end: {report.load_error or report.results[-1][1]}")
    return Finding(backend, {name: passed for name, (passed, _) in zip(GUARANTEES, report.results, strict=True)})


def probe_all(limits: Limits = Limits()) -> list[Finding]:
    """What each backend guarantees here, strongest first."""
    return [probe(backend, limits) for backend in backends()]


def strongest(limits: Limits = Limits(), *, among: Iterable[Backend] | None = None) -> Backend:
    """The strongest backend whose every guarantee holds.

    Raises:
        ConfigError: there is none; tells what is wrong with each.
    """
    problems = []
    for backend in backends() if among is None else among:
        finding = probe(backend, limits)
        if finding.safe:
            return backend
        lacking = ", ".join(name for name, held in finding.holds.items() if not held)
        problems.append(f"{backend.name}: {finding.problem or f'does not hold: {lacking}'}")
    raise ConfigError(
        f"no safe way to run model-written code here ({'; '.join(problems) or 'this system is not Linux'}); install "
        "bubblewrap, or accept the risk with --unsafe-exec (CodeSandbox(unsafe=True))"
    )


_PROGRAM = """
import os, socket, sys

def broken(attempt):
    try:
        return attempt() is not False
    except (OSError, MemoryError, OverflowError):
        return False

def connects():
    return broken(lambda: socket.socket().connect(("127.0.0.1", {port})))

def lists(folder):
    return any(os.path.join(folder, name) not in {shown} for name in os.listdir(folder))

def reads():
    return any(broken(lambda: lists(path)) for path in ("/", "/proc", "/sys", "/tmp", "/var", "/home", "/root")) or any(
        broken(lambda: open(path)) for path in ("/etc/passwd", "/etc/hostname", "/proc/self/environ", "/dev/mem"))

def writes():
    places = ("/tmp", "/dev/shm", "/home", "/var/tmp", ".", os.path.dirname(os.__file__))
    def write(place):
        with open(place + "/archon-probe", "w") as file:
            file.write("x")
            file.flush()
    return any(broken(lambda: write(place)) for place in places)

def forks():
    def fork():
        child = os.fork()
        if not child:
            os._exit(0)
    return broken(fork)

def executes():
    return broken(lambda: os.execv(sys.executable or "/bin/true", ["python", "-c", ""]))

def signals():
    return broken(lambda: os.kill(os.getppid(), 0)) or broken(lambda: os.kill({parent}, 0))

def traces():
    import ctypes
    return ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0

def environment():
    return not set(os.environ) <= {{"HOME", "LANG", "PATH", "PYTHONHASHSEED", "PWD", "LC_CTYPE"}}

def allocates():
    return broken(lambda: len(bytearray({memory} * 2**20)))

def unbounded():
    import resource
    return resource.getrlimit(resource.RLIMIT_CPU)[1] == resource.RLIM_INFINITY
"""
