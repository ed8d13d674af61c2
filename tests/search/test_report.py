"""The report: one file with everything in it, nothing unescaped, and pictures that show what was measured."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from archon import Critic, Fuser, Generator, Ranker
from archon.architecture import Architecture
from archon.picture import BOX_WIDTH, picture
from archon.search import charts, search
from tests.search.fakes import rows, settings, space


class Page(HTMLParser):
    """Counts tags and checks that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        named = space(name='<script>alert("x")</script>')
        return asyncio.run(search(settings(out, space=named))).report.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_needs_nothing_from_outside(report: str) -> None:
    page = Page(report)
    assert page.open == []
    assert {"script", "link", "img", "iframe"}.isdisjoint(tag for tag, _ in page.tags)
    assert re.findall(r"(?:src|href)=|url\((?!#)|@import", report) == []


def test_names_are_escaped(report: str) -> None:
    assert "<script" not in report
    assert "&lt;script&gt;" in report


def test_every_system_measured_is_a_mark_with_a_title(report: str, tmp_path: Path) -> None:
    scatter = report[report.index('id="scatter"') : report.index('id="curve"')]
    chart = scatter[: scatter.index("</svg>")]
    # 8 trials, 3 models greedy and sampled, 2 votes; and the equal-cost vote, which no search question was put to.
    assert chart.count("<title>") == 8 + 6 + 2 + 1
    assert chart.count('class="winner"') == 1
    assert re.findall(r'class="crowd"[^>]*><title>([^<]*)', chart)[0].endswith(
        "equal-cost vote, on the held-out questions"
    )


def test_pictures_have_words_for_those_who_do_not_see_them(report: str) -> None:
    pictures = [attributes for tag, attributes in Page(report).tags if tag == "svg"]
    assert all("aria-label" in each or each.get("aria-hidden") == "true" for each in pictures)
    (curve,) = [each["aria-label"] for each in pictures if "Best so far" in (each.get("aria-label") or "")]
    assert re.fullmatch(r"Best so far: from [\d.]+ % to [\d.]+ % over 16 systems\.", curve or "")
    headings = [attributes.get("id") for tag, attributes in Page(report).tags if tag == "h2"]
    assert headings == ["compare", "graph", "scatter", "curve", "finalists"]


def test_without_prices_the_chart_counts_calls(tmp_path: Path) -> None:
    result = asyncio.run(search(settings(tmp_path, space=space(models=rows(price=None)))))
    text = result.report.read_text(encoding="utf-8")
    assert "model calls of a question" in text
    assert "unknown" in text
    assert result.summary["winner"]["usd"] is None


def built() -> Architecture:
    drafts = Generator("a", samples=3) | Generator("b")
    return (drafts >> Critic("c") >> Ranker("c", keep=2) >> Fuser("d")).architecture()


def test_boxes_of_a_picture_do_not_overlap_and_stand_behind_their_inputs() -> None:
    drawn = picture(built())
    assert len(drawn.boxes) == 5
    assert len(drawn.edges) == 4  # two generators into the critic, then ranker and fuser
    for box in drawn.boxes:
        assert 0 <= box.x <= drawn.width - BOX_WIDTH
        assert 0 <= box.y <= drawn.height - box.height
    by_column: dict[int, list[tuple[int, int]]] = {}
    for box in drawn.boxes:
        by_column.setdefault(box.x, []).append((box.y, box.y + box.height))
    for spans in by_column.values():
        spans.sort()
        assert all(first[1] < second[0] for first, second in pairwise(spans))
    assert [box.output for box in drawn.boxes].count(True) == 1
    assert drawn.words.startswith("generator")
    assert "keep 2" in drawn.words


def test_axes_map_their_ends_to_the_edges_and_tick_at_round_values() -> None:
    axis = charts.Axis(0.0, 10.0, 100.0, 300.0)
    assert [axis.at(value) for value in (0, 5, 10)] == [100.0, 200.0, 300.0]
    assert [tick.label for tick in axis.ticks(charts.number)] == ["0", "2", "4", "6", "8", "10"]
    wide = charts.across([0.001, 1.0])
    assert wide.log
    assert [tick.label for tick in wide.ticks(charts.number)] == ["0.001", "0.01", "0.1", "1"]
    assert not charts.across([2.0, 3.0]).log
    assert charts.across([1.0, 1.0]).high > 1.0


def test_steps_go_right_before_they_go_up() -> None:
    assert charts.steps_path([(0, 10), (5, 8), (9, 8)]) == "M0,10H5V8H9V8"
    assert charts.steps_path([]) == ""


@pytest.mark.parametrize(("value", "shown"), [(0.0, "$0"), (0.0123, "$0.012"), (0.00000456, "$4.6e-6"), (12.0, "$12")])
def test_money_is_short(value: float, shown: str) -> None:
    assert charts.money(value) == shown
