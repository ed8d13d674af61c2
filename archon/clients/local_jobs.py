"""What the asyncio side hands to the engine's thread and gets back."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from archon.clients.local_sampling import Draw


@dataclass(frozen=True, slots=True)
class Token:
    """One generated or scored token."""

    id: int
    logprob: float | None = None
    """Nats; None where it was not asked for."""
    top: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Drafting:
    """What became of drafted tokens."""

    drafted: int = 0
    accepted: int = 0
    """Of the drafted ones, those that stood."""
    verified: int = 0
    """Tokens the model ran over in steps for which tokens were drafted: those, and one more a step."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a job ends with."""

    text: str
    tokens: tuple[Token, ...]
    """Without the end token and what stands behind a stop string."""
    generated: int
    """Tokens the model made, the end token and cut ones included."""
    finish_reason: str
    seconds: float
    """From admission to the end; waiting for a slot is not counted."""
    drafting: Drafting


@dataclass(eq=False, slots=True)
class Job:
    """One answer to be written, or (`scored`) one continuation to be scored.

    The engine's thread alone changes it, but for `cancelled`: the asyncio side sets that, the engine reads it.
    """

    prompt: tuple[int, ...]
    draw: Draw
    limit: int
    """Most tokens to generate."""
    loop: AbstractEventLoop
    done: Callable[[Answer | BaseException], None]
    """Called in the loop, once."""
    stops: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    piece: Callable[[str], None] | None = None
    """Called in the loop with each new piece of text."""
    scored: tuple[int, ...] = ()
    speculation: bool = True
    """Whether tokens may be drafted for it."""
    drafting: Drafting = field(default_factory=Drafting)
    cancelled: bool = False
    began: float = 0.0
    tokens: list[Token] = field(default_factory=list)
    growing: Any = None

    def note_round(self, drafted: int, accepted: int) -> None:
        """A step for which `drafted` tokens were drafted, of which `accepted` stood."""
        if drafted:
            self.drafting.drafted += drafted
            self.drafting.accepted += accepted
            self.drafting.verified += 1 + drafted
