"""The untrusted side: loads the program and answers calls until the other side is gone.

Nothing here is relied on. The program lives in the same process and may answer in this module's place; all it can say
is what a call returned, and it is told nothing but the calls' arguments.
"""

from __future__ import annotations

import sys
from typing import Any

from .frames import receive, send
from .plain import value_of, wire


def serve(fd: int) -> None:
    """Loads the program that comes first, then makes the calls that follow, each answered by one message."""
    module = type(sys)("program")
    sys.modules["program"] = module
    try:
        exec(compile(receive(fd)["program"], "<program>", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # whatever a program raises, it is told and not fatal here
        send(fd, _raised(error))
        return
    send(fd, {"loaded": True})
    while True:
        send(fd, _answer(module.__dict__, receive(fd)))


def _answer(space: dict[str, Any], call: Any) -> dict[str, Any]:
    try:
        arguments, keywords = value_of(call["arguments"]), value_of(call["keywords"])
        value = wire(space[call["name"]](*arguments, **keywords))
        after = wire(arguments)
    except BaseException as error:
        return _raised(error)
    return {"value": value} if after == call["arguments"] else {"value": value, "arguments": after}


def _raised(error: BaseException) -> dict[str, Any]:
    try:
        text = str(error)
    except BaseException:  # a program's own exception class may fail at anything
        text = ""
    return {"raised": type(error).__name__, "text": text[:300]}
