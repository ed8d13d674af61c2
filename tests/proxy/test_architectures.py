"""What is served: files and tables into one catalogue, swapped whole, closed when the last request has left it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from archon.errors import ConfigError
from archon.proxy.architectures import load
from archon.proxy.errors import ApiError
from archon.proxy.settings import Settings
from tests.proxy.serving import Json, Serving, fake, fused, system, upstream, voted
from tests.proxy.wire import ask
from tests.servers import CountingServer

ASK: Json = {"model": "archon/s", "messages": [{"role": "user", "content": "q"}]}


def test_architectures_and_every_row_of_their_tables_are_served(tmp_path: Path) -> None:
    first = system(tmp_path, "one", fused("a"), [fake("a"), fake("spare")])
    second = system(tmp_path, "two", voted("b"), [fake("b")])
    extra = tmp_path / "models.yaml"
    extra.write_text("models:\n- {id: c, client: fake}\n")
    catalogue = load(Settings(files=(first, second), models=extra))
    assert [each.id for each in catalogue] == ["archon/one", "archon/two", "c", "a", "spare", "b"]
    assert catalogue["archon/one"].answering == ("a",)
    assert catalogue["a"].plain == "a"


def test_a_file_without_a_name_is_served_under_its_own(tmp_path: Path) -> None:
    path = tmp_path / "stem.yaml"
    path.write_text("nodes: [{id: g, layer: generator, model: m}]\noutput: g\nmodels: [{id: m, client: fake}]\n")
    assert load(Settings(files=(path,)))["archon/stem"].plan.calls == 1


def test_one_model_with_two_settings_is_refused(tmp_path: Path) -> None:
    first = system(tmp_path, "one", fused(), [fake("m", ["a"])])
    second = system(tmp_path, "two", fused(), [fake("m", ["b"])])
    with pytest.raises(ConfigError, match="other settings in another file"):
        load(Settings(files=(first, second)))


def test_an_unknown_model_is_named_with_the_nearest(tmp_path: Path) -> None:
    catalogue = load(Settings(files=(system(tmp_path, "winner", fused(), [fake("m")]),)))
    with pytest.raises(ApiError, match="did you mean 'archon/winner'"):
        catalogue["archon/winer"]


def test_a_swapped_catalogue_stays_open_for_the_requests_it_has(tmp_path: Path) -> None:
    """The old connections close when the lease ends, and a request after the swap sees the new catalogue."""
    settings = Settings(files=(system(tmp_path, "s", fused(), [fake("m", ["old"])]),))

    async def inner() -> None:
        with Serving(settings) as server:
            services = server.services
            old = services.catalogue
            with old:
                system(tmp_path, "s", fused(), [fake("m", ["new"])])
                services.swap(load(settings))
                await services.sweep()
                assert services.retired == [old]
                answer = await asyncio.to_thread(ask, server.port, ASK)
                assert answer.json["choices"][0]["message"]["content"] == "new"
            await services.sweep()
            assert services.retired == []

    asyncio.run(inner())


def test_ready_tells_whether_the_upstreams_take_connections(tmp_path: Path) -> None:
    up = CountingServer()
    with up:
        path = system(tmp_path, "s", fused(), [upstream(up.endpoint)])
        server = Serving(Settings(files=(path,)))
        server.__enter__()
        ready = ask(server.port, b"", "/ready", method="GET")
        assert up.total == 0, "nothing is asked of an upstream"
        ask(server.port, {**ASK, "model": "m"})  # so that the upstream has seen the look's connection close
    down = ask(server.port, b"", "/ready", method="GET")
    alive = ask(server.port, b"", "/health", method="GET")
    server.__exit__()
    assert (ready.status, ready.json["status"]) == (200, "ready")
    assert (down.status, down.json["status"]) == (503, "not ready")
    assert alive.status == 200


def test_a_local_model_takes_text_and_refuses_an_image_with_a_400(tmp_path: Path) -> None:
    path = system(tmp_path, "s", [{"id": "g", "layer": "generator", "model": "zoo/abacus"}], [])
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with Serving(Settings(files=(path,))) as server:
        plain = ask(server.port, {**ASK, "model": "zoo/abacus"})
        refused = ask(server.port, {**ASK, "messages": [{"role": "user", "content": [image]}]})
        tools = [{"type": "function", "function": {"name": "f"}}]
        called = ask(server.port, {**ASK, "tools": tools})
    assert plain.status == 200
    assert refused.status == 400
    assert (called.status, called.error["param"]) == (400, "tools")
