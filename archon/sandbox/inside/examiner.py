"""The side that holds the tests: runs each against the program and reports what came of it.

The tests see the program's functions as `Remote`s, which send plain data and receive plain data; no object of the
program's ever stands in a test. Each test runs in a namespace of its own, and its time is bounded.
"""

from __future__ import annotations

import builtins
import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from .frames import receive, send
from .plain import NotPlainError, value_of, wire


class TimeUp(BaseException):
    """A test's time is over. No `Exception`, so that no test catches it by the way."""


class Lost(BaseException):
    """The program's process is gone, or cannot be spoken with any more."""


def examine(job: Mapping[str, Any], program: int, report: int) -> None:
    """Runs a job's tests against the program behind the socket `program`; one line on `report` for each event."""

    def tell(**event: Any) -> None:
        os.write(report, f"{job['nonce']} {json.dumps(event)}\n".encode())

    signal.signal(signal.SIGALRM, _time_up)
    problem = _loaded(job, program)
    if problem:
        tell(event="not loaded", said=problem)
        return
    remotes = {name: Remote(program, name) for name in job["names"]}
    for number, test in enumerate(job["tests"]):
        passed, lost, said = _outcome(test, remotes, job["test_seconds"])
        tell(event="test", number=number, passed=passed, said=said)
        if lost:
            break
    tell(event="done")


class Remote:
    """A function of the program: called with plain data, it returns plain data or raises what the program raised."""

    def __init__(self, program: int, name: str) -> None:
        self._program = program
        self.__name__ = name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        call = {"name": self.__name__, "arguments": wire(list(arguments)), "keywords": wire(keywords)}
        reply = _exchanged(self._program, call)
        if not isinstance(reply, dict) or "value" not in reply:
            raise _as_raised(reply)
        _restore(arguments, reply.get("arguments"))
        return _built(reply["value"])


def _exchanged(program: int, message: dict[str, Any]) -> Any:
    """The program's answer to a message."""
    try:
        send(program, message)
        return receive(program)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise Lost(f"the program ended or broke off ({type(error).__name__})") from None


def _restore(arguments: tuple[Any, ...], after: Any) -> None:
    """Changes that a call made to its arguments, made here as well."""
    if not isinstance(after, list):
        return
    for before, now in zip(arguments, map(_built, after), strict=False):
        if isinstance(before, list) and isinstance(now, list):
            before[:] = now
        elif isinstance(before, dict | set) and type(now) is type(before):
            before.clear()
            before.update(now)


def _built(wired: Any) -> Any:
    try:
        return value_of(wired)
    except (ValueError, RecursionError):
        raise NotPlainError("the program's answer is not plain data") from None


def _as_raised(reply: Any) -> Exception:
    """The program's exception: of the same class where that is a built-in one."""
    name, text = (str(reply.get(key, "")) for key in ("raised", "text")) if isinstance(reply, dict) else ("", "")
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # some built-in exceptions want more than a text
            pass
    return RuntimeError(f"{name}: {text}")


def _loaded(job: Mapping[str, Any], program: int) -> str | None:
    """Loads the program; what went wrong, if anything did."""

    def load() -> None:
        reply = _exchanged(program, {"program": job["program"]})
        if not (isinstance(reply, dict) and reply.get("loaded") is True):
            raise _as_raised(reply)

    return _problem(load, job["test_seconds"])[1]


def _outcome(test: str, remotes: Mapping[str, Remote], seconds: float) -> tuple[bool, bool, str]:
    """Whether it passed, whether the program was lost by it, and what was wrong."""

    def run() -> None:
        exec(compile(test, "<test>", "exec", dont_inherit=True), {"__name__": "tests", **remotes})

    lost, problem = _problem(run, seconds)
    return problem is None, lost, problem or ""


def _problem(run: Callable[[], None], seconds: float) -> tuple[bool, str | None]:
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        run()
    except (TimeUp, Lost) as error:
        return True, _text(error)
    except BaseException as error:
        return False, _text(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return False, None


def _text(error: BaseException) -> str:
    said = str(error)
    return f"{type(error).__name__}{': ' if said else ''}{said}"[:300]


def _time_up(*_: object) -> None:
    raise TimeUp("no result in time")
