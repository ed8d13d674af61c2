"""Metrics of several worker processes as one: each counts in files of its own, and whoever is asked adds them all up.

prometheus_client does this where PROMETHEUS_MULTIPROC_DIR is set before it is imported.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_folder() -> Iterator[None]:
    """A folder for the workers that are started inside: the one that is named already, else a private one that is
    removed afterwards."""
    if os.environ.get(VARIABLE):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="archon-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def render_all() -> bytes:
    """The exposition text of all workers. Counts of one that died stay; what was under way in it does not."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in Path(os.environ[VARIABLE]).glob("gauge_live*_*.db")}:
        if not _alive(pid):
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
    everyone = CollectorRegistry()
    MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
    return generate_latest(everyone)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
