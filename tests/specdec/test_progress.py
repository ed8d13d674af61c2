"""Progress shows how far a run is, on terminals and in logs."""

from __future__ import annotations

import io

from specdec.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_bar_that_ends_with_its_line() -> None:
    screen, now = Terminal(), iter([0.0, 30.0, 60.0])
    progress = Progress(screen, lambda: next(now))
    for done in (0, 1, 3):
        progress.at("epoch", done, 3)
    shown = screen.getvalue().split("\r\033[K")
    # A third took 30 seconds, so two thirds take another minute.
    assert shown[1:] == [
        "[..............................] epoch 0/3",
        "[##########....................] epoch 1/3, 1:00 left",
        "[##############################] epoch 3/3\n",
    ]


def test_a_log_gets_a_line_for_every_tenth() -> None:
    log = io.StringIO()
    progress = Progress(log, lambda: 0.0)
    for done in range(1001):
        progress.at("texts", done, 1000)
    assert len(log.getvalue().splitlines()) == 11


def test_a_line_that_stays_takes_the_place_of_the_bar() -> None:
    screen = Terminal()
    progress = Progress(screen, lambda: 0.0)
    progress.at("epoch", 1, 3)
    progress.say("loss 0.1")
    assert screen.getvalue().endswith("\r\033[Kloss 0.1\n")


def test_without_a_stream_nothing_is_shown() -> None:
    Progress().say("nobody")
    Progress().at("nobody", 1, 2)
