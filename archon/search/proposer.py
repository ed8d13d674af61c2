"""From a sampler's assignments to new, feasible systems: nothing infeasible is measured, nothing is measured twice.

A system that is known already is told to the sampler with its known value; one that cannot be built is rejected, which
teaches the sampler nothing (it is excluded, not penalised). A sampler that finds nothing new in many tries is helped
out by random draws and then by walking through the space; so a search ends only when the space is used up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from archon.architecture import Architecture
from archon.search.build import Assignment, Infeasible, Memo, Rankings, blueprint
from archon.search.enumeration import drawn, systems
from archon.search.samplers import Sampler
from archon.search.space import Space, Value

TRIES = 100
"""Proposals of the sampler, and then random draws, before the next way is tried. An exhaustive sampler is asked until
its end."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new system to measure."""

    ticket: Any
    chosen: Assignment
    architecture: Architecture


@dataclass(slots=True)
class Proposer:
    """Asks a sampler until it gives something new. Deterministic for given values."""

    space: Space
    sampler: Sampler
    rng: Random
    rankings: Rankings
    known: dict[str, float | None] = field(default_factory=dict)
    """Values by hash of everything measured on the search split; None where nothing could be scored."""
    duplicates: int = 0
    infeasible: int = 0
    _pending: set[str] = field(default_factory=set)
    _memo: Memo = field(default_factory=dict)
    _walk: Iterator[tuple[dict[str, Value], Architecture]] | None = None

    def ask(self, size: int) -> list[Proposal]:
        """Up to `size` new systems to measure next; none when the space is used up."""
        found: list[Proposal] = []
        while len(found) < size and (proposal := self._next()) is not None:
            self._pending.add(proposal.architecture.hash)
            found.append(proposal)
        return found

    def tell(self, proposal: Proposal, value: float | None) -> None:
        """What a proposed system was worth; None = nothing could be scored."""
        self._pending.discard(proposal.architecture.hash)
        self.known[proposal.architecture.hash] = value
        self._told(proposal.ticket, value)

    def _next(self) -> Proposal | None:
        return self._from_sampler() or self._from_draws() or self._from_walk()

    def _from_sampler(self) -> Proposal | None:
        for _ in count() if self.sampler.exhaustive else range(TRIES):
            proposed = self.sampler.propose()
            if proposed is None:
                return None
            ticket, chosen = proposed
            made = self._made(chosen)
            if made is None or made.hash in self._pending:
                self.sampler.reject(ticket)
            elif made.hash in self.known:
                self.duplicates += 1
                self._told(ticket, self.known[made.hash])
            else:
                return Proposal(ticket, chosen, made)
        return None

    def _told(self, ticket: Any, value: float | None) -> None:
        """A system that could not be scored teaches the sampler nothing."""
        if value is None:
            self.sampler.reject(ticket)
        else:
            self.sampler.tell(ticket, value)

    def _from_draws(self) -> Proposal | None:
        for _ in range(TRIES):
            chosen = drawn(self.space, self.rng)
            made = self._made(chosen)
            if made is not None and self._is_new(made):
                return Proposal(self.sampler.adopt(chosen), chosen, made)
        return None

    def _from_walk(self) -> Proposal | None:
        self._walk = self._walk or systems(self.space, self.rankings)
        for chosen, made in self._walk:
            if self._is_new(made):
                return Proposal(self.sampler.adopt(chosen), chosen, made)
        return None

    def _is_new(self, made: Architecture) -> bool:
        return made.hash not in self.known and made.hash not in self._pending

    def _made(self, chosen: Assignment) -> Architecture | None:
        try:
            return blueprint(self.space, chosen, self.rankings, self._memo).architecture()
        except Infeasible:
            self.infeasible += 1
            return None
