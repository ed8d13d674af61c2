"""What one run may use. Every bound holds for each of its two processes, the program's and the tests'."""

from __future__ import annotations

from dataclasses import dataclass, fields

from archon.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run. Raises ConfigError for one that is not positive."""

    memory_mb: int = 512
    """Address space, MiB."""
    cpu_seconds: int = 10
    """Processor time, whole seconds."""
    test_seconds: float = 5.0
    """Time until a test (or the loading of the program) counts as failed."""
    wall_seconds: float = 20.0
    """Time of the whole run, from the job's arrival to the last result."""
    threads: int = 64
    """Threads of the run's user, where it has a user or a user namespace of its own; further processes: none."""
    files: int = 64
    """Open files."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(f"sandbox limit {field.name} must be positive, got {getattr(self, field.name)}")

    def resources(self, *, own_user: bool) -> dict[str, int]:
        """Name after `RLIMIT_` → bound. Nothing may be written to a file, and no core is left."""
        bounds = {
            "AS": self.memory_mb * 2**20,
            "CPU": self.cpu_seconds,
            "NOFILE": self.files,
            "FSIZE": 0,
            "CORE": 0,
            "MEMLOCK": 0,
            "MSGQUEUE": 0,
        }
        return bounds | ({"NPROC": self.threads} if own_user else {})
