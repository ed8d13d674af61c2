"""vLLM loads the shipped folders unchanged and says what this package says.

Needs an interpreter with vLLM (its CPU build will do), named by ARCHON_TEST_VLLM_PYTHON; skipped without.
"""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archon.zoo import path
from archon.zoo.encoding import to_messages
from archon.zoo.generate import Speaker
from archon.zoo.ledger import ledger_problems
from archon.zoo.minicode import minicode_tasks

PYTHON = os.environ.get("ARCHON_TEST_VLLM_PYTHON", "")
PATIENCE = 240  # seconds for vLLM to start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="ARCHON_TEST_VLLM_PYTHON names no interpreter with vLLM"),
]


@pytest.fixture(params=["captain", "scribe", "clerk", "steward"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address of a vLLM server of one model, and the model's name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(path(request.param))]
    command += ["--served-model-name", "zoo", "--dtype", "float32", "--enforce-eager", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (tmp_path / "vllm.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, tmp_path / "vllm.log")
            yield f"http://127.0.0.1:{port}/v1/chat/completions", request.param
        finally:
            process.terminate()
            process.wait(30)


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    pytest.fail(f"vLLM did not start within {PATIENCE} s: {log.read_text()[-2000:]}")


def _asked(address: str, messages: list[dict[str, Any]]) -> str:
    body = {"model": "zoo", "messages": messages, "temperature": 0, "max_tokens": 200}
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def test_greedy_answers_are_those_of_transformers(server: tuple[str, str]) -> None:
    address, name = server
    questions = [p.question for p in ledger_problems(8, 8)] + [t.question for t in minicode_tasks(8, 8)]
    expected = Speaker.load(path(name)).say([("solve", (question,)) for question in questions], most=200)
    said = [_asked(address, to_messages("solve", (question,))) for question in questions]
    # float32 sums in another order: a near-tie may fall the other way, now and then.
    assert sum(one == other for one, other in zip(said, expected, strict=True)) >= len(questions) - 1
