"""Model-written Python, run where it can do no harm and cannot lie about its tests.

`CodeSandbox` is the way in. A run is two processes in a fresh worker: one holds the program, one the tests; they speak
in plain data, so that a pass cannot be forged (`inside/`). Workers run in bubblewrap, or, where that does not work,
behind Landlock; both with seccomp and resource limits (`backends`). What holds on this machine is tried out and not
assumed (`probe`; on the command line `archon sandbox check`). docs/sandbox.md says what remains possible.
"""

from __future__ import annotations

from archon.sandbox.backends import Backend, backends
from archon.sandbox.limits import Limits
from archon.sandbox.probe import GUARANTEES, Finding, probe, probe_all
from archon.sandbox.process import Report, SandboxError
from archon.sandbox.verdicts import CodeSandbox

__all__ = [
    "GUARANTEES",
    "Backend",
    "CodeSandbox",
    "Finding",
    "Limits",
    "Report",
    "SandboxError",
    "backends",
    "probe",
    "probe_all",
]
