"""The page in a real browser: ask, look inside, past requests; what a model writes stays text.

Screenshots for the documentation are written to docs/ where ARCHON_SCREENSHOTS is set.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.proxy.serving import Serving
from tests.proxy.staging import FUSED, HOSTILE, QUESTION, settings, staged
from tests.proxy.test_streaming import until
from tests.servers import CountingServer, Reply

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")


def _shows(page: Page, element: str, text: str) -> None:
    # `wait_for_function` evaluates a text as script again and again, which the page's own policy forbids it to do.
    playwright.expect(page.locator(element)).to_contain_text(text, timeout=30_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as found:
        opened = found.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


class Seen:
    """A page with what went wrong in it."""

    def __init__(self, page: Page, root: str) -> None:
        self.page, self.root = page, root
        self.faults: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, key: str = "", path: str = "/ui") -> Page:
        """The page, with the key typed in."""
        self.page.goto(self.root + path)
        if key:
            self.page.fill("#key", key)
            self.page.click("#key-form button")
            self.page.wait_for_selector("#model option", state="attached")
        return self.page

    def ask(self, key: str) -> Page:
        """The page, after one answer."""
        page = self.open(key)
        page.fill("#question", QUESTION)
        page.click("#send")
        page.wait_for_selector("#inside .graph")
        return page


@pytest.fixture
def words() -> str:
    """Put before everything that the models write."""
    return ""


@pytest.fixture
def served(tmp_path: Path, words: str) -> Iterator[tuple[str, Serving]]:
    with CountingServer(staged(0.4, words)) as upstream:
        secret, given = settings(tmp_path, upstream.endpoint)
        with Serving(given) as server:
            yield secret, server


@pytest.fixture
def seen(browser: Browser, served: tuple[str, Serving]) -> Iterator[Seen]:
    context = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme="light")
    yield Seen(context.new_page(), served[1].root)
    context.close()


def shot(page: Page, name: str, tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "docs" if os.environ.get("ARCHON_SCREENSHOTS") else tmp_path
    path = folder / name
    page.screenshot(path=path, full_page=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_answer_opens_with_its_graph_and_the_path_that_won(
    seen: Seen, served: tuple[str, Serving], tmp_path: Path
) -> None:
    page = seen.ask(served[0])
    assert page.inner_text("#answer") == FUSED
    assert page.locator("#inside .box").count() == 5
    assert page.locator("#inside .edge.won").count() == 4
    assert page.locator("#inside .candidate.winner .text").inner_text() == FUSED
    assert page.locator("#inside .facts").inner_text().split("\n")[:6] == [
        "model", "archon/second-opinion", "calls", "7", "from cache", "0",
    ]  # fmt: skip
    shot(page, "ui.png", tmp_path)
    assert seen.faults == []


def test_a_node_shows_what_it_was_given_and_what_it_made_of_it(
    seen: Seen, served: tuple[str, Serving], tmp_path: Path
) -> None:
    page = seen.ask(served[0])
    page.click('#inside .box[data-node="critic"]')
    assert page.locator(".detail h2").inner_text() == "critic"
    assert page.locator(".detail > .candidate").count() == 4
    assert "Weaknesses: adds 3 and 14" in page.locator(".detail").inner_text()
    shot(page, "ui-inside.png", tmp_path)
    page.click(".detail > details:first-of-type > summary")
    assert page.locator(".detail > details:first-of-type .candidate").count() == 4
    page.focus('#inside .box[data-node="ranker"]')
    page.keyboard.press("Enter")
    assert page.locator(".detail h3").inner_text() == "Kept: 2 of 4 candidates, the best first"
    assert seen.faults == []


def test_past_requests_are_there_after_a_reload_and_have_an_address(seen: Seen, served: tuple[str, Serving]) -> None:
    page = seen.ask(served[0])
    address = page.url
    assert "#trace=tr_" in address
    page.goto("about:blank")
    page.goto(address)  # the same tab keeps its key
    page.wait_for_selector("#inside .graph")
    assert page.inner_text("#answer") == FUSED
    assert page.locator("#past a").count() == 1


def test_without_a_key_the_page_asks_for_one_and_shows_nothing(seen: Seen, served: tuple[str, Serving]) -> None:
    page = seen.open()
    _shows(page, "#key-state", "asks for a key")
    assert page.locator("#model option").count() == 0
    page.fill("#key", "sk-archon-wrong")
    page.click("#key-form button")
    page.wait_for_selector("#notice:not([hidden])")
    assert "not known" in page.inner_text("#notice")


def test_the_key_stays_in_the_tab(seen: Seen, served: tuple[str, Serving]) -> None:
    page = seen.ask(served[0])
    assert page.evaluate("Object.values(sessionStorage)") == [served[0]]
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.cookie") == ""
    assert served[0] not in page.content()
    assert all(served[0] not in url and url.startswith(seen.root) for url in seen.requests)


@pytest.mark.parametrize("words", [HOSTILE + "\n"])
def test_what_a_model_writes_stays_text(seen: Seen, served: tuple[str, Serving], words: str) -> None:
    page = seen.ask(served[0])
    for node in ("quick", "careful", "critic", "ranker", "fuser"):
        page.click(f'#inside .box[data-node="{node}"]')
        page.evaluate("document.querySelectorAll('.detail details').forEach((each) => (each.open = true))")
        assert HOSTILE in page.locator(".detail").inner_text()
    assert page.title() == "Archon"
    assert page.locator("main img, main script, main a[href^=javascript]").count() == 0
    assert seen.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_the_page_never_scrolls_sideways(
    browser: Browser, served: tuple[str, Serving], width: int, scheme: str, tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page = Seen(context.new_page(), served[1].root).ask(served[0])
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    context.close()


def test_a_request_that_fails_says_why_and_can_be_looked_into(browser: Browser, tmp_path: Path) -> None:
    with CountingServer(lambda _: Reply("overloaded", status=400)) as upstream:
        secret, given = settings(tmp_path, upstream.endpoint)
        with Serving(given) as server:
            context = browser.new_context()
            page = Seen(context.new_page(), server.root).open(secret)
            page.fill("#question", QUESTION)
            page.click("#send")
            page.wait_for_selector("#notice:not([hidden])")
            assert "overloaded" in page.inner_text("#notice")
            assert page.inner_text("#progress") == "failed"
            assert page.inner_text("#past .tag") == "failed"
            page.click("#past a")
            page.wait_for_selector("#inside .box.failed")
            assert page.inner_text("#answer") == "There is no answer."
            page.click('#inside .box[data-node="quick"]')
            assert "overloaded" in page.inner_text(".detail")
            context.close()


def test_a_request_that_is_stopped_ends_upstream_as_well(browser: Browser, tmp_path: Path) -> None:
    with CountingServer(staged(40.0)) as upstream:
        secret, given = settings(tmp_path, upstream.endpoint)
        with Serving(given) as server:
            context = browser.new_context()
            page = Seen(context.new_page(), server.root).open(secret)
            page.fill("#question", QUESTION)
            page.click("#send")
            _shows(page, "#progress", "started")
            page.click("#stop")
            page.wait_for_selector("#stop", state="hidden")
            assert until(lambda: upstream.under_way == 0)
            context.close()
        assert upstream.left == 4  # four drafts were under way
