"""The OpenAPI document is true: what it allows, and what it does not, is answered or refused, and nothing is a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from archon.proxy.app import create_app
from archon.proxy.schema import ChatBody, CompletionBody, ResponsesBody
from archon.proxy.settings import Settings
from tests.proxy.serving import Serving, fake, fused, system
from tests.proxy.wire import ask

POSTS = ["/v1/chat/completions", "/v1/completions", "/v1/responses"]
FEW = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("document")
    path = system(folder, "s", fused(), [fake("m", ['{"a": 1}'])])
    with Serving(Settings(files=(path,), store=str(folder / "proxy.db"), deadline=20.0)) as serving:
        yield serving


def document(server: Serving) -> Any:
    """The document as it is served."""
    return ask(server.port, b"", "/openapi.json", method="GET").json


def test_the_document_names_every_route(server: Serving) -> None:
    paths = document(server)["paths"]
    gets = {"/v1/models", "/v1/models/{model}", "/health", "/ready", "/metrics"}
    assert set(paths) == {*POSTS, *gets}
    assert all("post" in paths[path] for path in POSTS)


@pytest.mark.parametrize("body", [ChatBody, CompletionBody, ResponsesBody])
def test_the_documents_bodies_are_those_that_are_read(server: Serving, body: Any) -> None:
    described = document(server)["components"]["schemas"][body.__name__]
    assert set(described["properties"]) == set(body.model_fields)
    assert described["additionalProperties"] is False


def test_docs_and_operation_answer(server: Serving) -> None:
    for path in ("/docs", "/health", "/ready", "/metrics", "/openapi.json"):
        assert ask(server.port, b"", path, method="GET").status == 200, path
    text = ask(server.port, b"", "/metrics", method="GET").body.decode()
    assert "archon_requests_total" in text


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_nothing_the_document_describes_or_forbids_ends_in_a_5xx(server: Serving, path: str, mode: str) -> None:
    schema = schemathesis.openapi.from_dict(document(server))
    operation = schema[path]["POST"]
    wanted = schemathesis.GenerationMode.POSITIVE if mode == "positive" else schemathesis.GenerationMode.NEGATIVE

    @FEW
    @given(case=operation.as_strategy(generation_mode=wanted))
    def tried(case: Any) -> None:
        body = case.body
        for model in ("archon/s", "m"):
            sent = {**body, "model": model} if isinstance(body, dict) and "model" in body else body
            answer = ask(server.port, sent, path)
            assert answer.status < 500, (sent, answer.body)
            if answer.status >= 400:
                assert answer.error["message"]

    tried()


def test_an_app_has_nothing_of_another(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("two")
    apps = [create_app(Settings(files=(system(folder, name, fused(), [fake("m")]),))) for name in ("a", "b")]
    served = [[each.id for each in app.state.services.catalogue] for app in apps]
    assert served == [["archon/a", "m"], ["archon/b", "m"]]
