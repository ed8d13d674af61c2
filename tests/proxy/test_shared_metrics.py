"""Metrics of several workers are told as one, whichever of them is asked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from archon.proxy import shared_metrics
from archon.proxy.shared_metrics import VARIABLE, shared_folder
from tests.proxy.processes import process
from tests.proxy.serving import fake, fused, system
from tests.proxy.wire import ask

ASK = {"model": "archon/s", "messages": [{"role": "user", "content": "q"}]}
MOST = 400
"""Requests, each over a connection of its own, after which both workers must have had one."""


def counted(folder: Path) -> dict[int, float]:
    """Chat completions that each worker counted, by its process id."""
    found: dict[int, float] = {}
    for path in folder.glob("counter_*.db"):
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            if key.startswith('["archon_requests"') and "/v1/chat/completions" in key:
                found[int(path.stem.rpartition("_")[2])] = value
    return found


def told(port: int) -> float:
    """Chat completions by the exposition text."""
    text = ask(port, b"", "/metrics", method="GET").body.decode()
    lines = re.findall(r'^archon_requests_total\{.*route="/v1/chat/completions".*\} (\S+)$', text, re.MULTILINE)
    return sum(map(float, lines))


def test_every_worker_tells_the_sum_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    file = system(tmp_path, "s", fused(), [fake("m", ["words"])])
    with process(file, str(tmp_path / "proxy.db"), 2) as (running, port):
        sent = 0
        folder: Path | None = None
        while sent < MOST and (folder is None or len(counted(folder)) < 2):
            assert ask(port, ASK).status == 200
            sent += 1
            folder = next(tmp_path.glob("archon-metrics-*"))
        assert folder is not None
        each = counted(folder)
        assert len(each) == 2, "one worker had every request"
        assert sum(each.values()) == sent
        # Each connection may reach either worker; whichever answers tells all of them.
        assert [told(port) for _ in range(6)] == [sent] * 6
        running.send_signal(signal.SIGTERM)
        running.wait(120)
    assert list(tmp_path.glob("archon-metrics-*")) == [], "the folder goes with the server"


def test_a_folder_that_is_named_already_is_used_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with shared_folder():
        assert os.environ[VARIABLE] == str(tmp_path)
    assert tmp_path.is_dir()
    assert os.environ[VARIABLE] == str(tmp_path)


_WORKER = """
import os, sys
from archon.proxy.metrics import Metrics
metrics = Metrics()
metrics.request("/v1/models", "m", 200, 0.1)
metrics.in_flight.inc()
os._exit(0)  # dies with a request under way
"""


def test_of_a_worker_that_died_counts_stay_and_what_was_under_way_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {**os.environ, VARIABLE: str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", _WORKER], env=environ, check=True, timeout=120)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    text = shared_metrics.render_all().decode()
    assert 'archon_requests_total{model="other",route="/v1/models",status="200"} 2.0' in text
    assert "archon_requests_in_flight 1" not in text
    assert "archon_requests_in_flight 2" not in text
