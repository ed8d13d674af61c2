"""The official Node client, unmodified, against an architecture and a plain model.

It is no Python package: `npm install --prefix tests/proxy/node` once; without it the tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from archon.proxy.settings import Settings
from tests.proxy.serving import Serving, fused, system, upstream
from tests.proxy.test_openai_client import answered
from tests.servers import CountingServer

FOLDER = Path(__file__).parent / "node"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (FOLDER / "node_modules" / "openai").exists(),
        reason="the Node client is not installed: npm install --prefix tests/proxy/node",
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with CountingServer(answered) as up:
        path = system(tmp_path_factory.mktemp("served"), "winner", fused(), [upstream(up.endpoint)])
        with Serving(Settings(files=(path,))) as serving:
            yield serving


@pytest.mark.parametrize(("model", "calls"), [("archon/winner", 4), ("m", 1)])
def test_every_form_of_call(server: Serving, model: str, calls: int) -> None:
    command = [str(NODE), str(FOLDER / "client.mjs"), server.url, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    words = ["the", " sum", " is", " plainly", " 4"]
    assert seen == {
        "chat": "".join(words),
        "prompt_tokens": 7 * calls,
        "pieces": words,
        "streamed_prompt_tokens": 7 * calls,
        "tool": {"name": "add", "arguments": '{"a": 2}'},
        "parsed": {"total": 4},
        "text": "".join(words),
        "response": "".join(words),
        "deltas": words,
        "last": "response.completed",
        "models": ["archon/winner", "m"],
        "error": ["NotFoundError", 404, "model_not_found", True],
    }
