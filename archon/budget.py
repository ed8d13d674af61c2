"""Budgets that hold: the worst case is reserved before a call and settled after it.

Calls, tokens, US dollars (integer micro-dollars, every call rounded up) and seconds. A reservation waits while calls
under way may still free room, and is refused only when they cannot. A call whose bill is unknown (cancelled, timed out,
killed) keeps its worst case and is counted in `unsettled`. Waiting is first come, first served, so a large call is not
starved by small ones; a caller that waits on several budgets (its own and the parents') holds none of them meanwhile,
so they cannot lock each other up.

A budget belongs to one event loop at a time; it is not thread-safe.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from archon.amounts import Amount, Bounds, check_bound, micro_usd
from archon.errors import BudgetError, DeadlineError
from archon.journal import Journal
from archon.types import Usage


class Budget:
    """An upper bound on what calls may cost together. None = no bound.

    Args:
        calls: attempts sent to a model (a failed attempt is one).
        tokens: prompt and completion tokens together.
        usd: US dollars; counted in whole micro-dollars.
        seconds: wall time from now on.
        parent: a budget that must have room as well, and pays along.
        journal: keeps reservations and bills on disk; what it already holds counts as spent, and a reservation that
            was never settled (its process was killed) counts with its worst case.

    Raises:
        ConfigError: a negative or non-finite bound.
    """

    def __init__(
        self,
        calls: int | None = None,
        tokens: int | None = None,
        usd: float | None = None,
        seconds: float | None = None,
        parent: Budget | None = None,
        journal: Journal | None = None,
    ) -> None:
        check_bound("seconds", seconds)
        self._bounds = Bounds.checked(calls, tokens, usd)
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._chain: tuple[Budget, ...] = (self, *(parent._chain if parent else ()))
        self._queue: deque[_Waiter] = parent._queue if parent else deque()
        self._journal = journal
        self._spent, self._unsettled = journal.recover() if journal else (Amount(), Amount())
        self._reserved = Amount()
        self._overruns = 0

    @property
    def spent(self) -> Amount:
        """What is gone: settled bills, and the worst case of calls whose bill is unknown."""
        return self._spent

    @property
    def reserved(self) -> Amount:
        """Worst case of the calls under way."""
        return self._reserved

    @property
    def unsettled(self) -> Amount:
        """The part of `spent` that is a worst case kept because the bill is unknown."""
        return self._unsettled

    @property
    def overruns(self) -> int:
        """Calls billed above their worst case: a provider that ignored `max_tokens`. 0 wherever bounds are bounds."""
        return self._overruns

    @property
    def deadline(self) -> float | None:
        """Monotonic time at which this budget or a parent ends; None = never."""
        return min((budget._ends for budget in self._chain if budget._ends is not None), default=None)

    def within(self, other: Budget) -> bool:
        """Whether what this budget holds, `other` holds too: it is the same or an ancestor."""
        return other in self._chain

    @property
    def limits_usd(self) -> bool:
        """Whether this budget or a parent bounds dollars, so that every model needs a price."""
        return any(budget._bounds.micro_usd is not None for budget in self._chain)

    @property
    def limits_tokens(self) -> bool:
        """Whether this budget or a parent bounds tokens or dollars, so that every call needs a bound on its tokens."""
        return self.limits_usd or any(budget._bounds.tokens is not None for budget in self._chain)

    async def reserve(self, calls: int, tokens: int, micro_usd: int | None, what: str) -> Reservation:
        """Sets the worst case of a call aside, waiting for room where calls under way may free it.

        Args:
            calls: attempts, usually 1.
            tokens: upper bound on prompt and completion tokens together.
            micro_usd: upper bound in micro-dollars; None = the price is unknown.
            what: who asks, for the refusal's text.

        Raises:
            BudgetError: there is no room, and calls under way cannot free enough.
            DeadlineError: the seconds are over.
        """
        want = Amount(calls, tokens, micro_usd or 0, 0 if micro_usd is not None else calls)
        if want.unpriced and self.limits_usd:
            raise BudgetError(f"budget: {what} has no known price, so a budget in USD cannot hold it")
        self._check_time(what)
        refusal = self._refusal(want, what)
        if refusal:
            raise refusal
        if not self._queue and self._has_room(want):
            return self._grant(want, what)
        return await self._wait(_Waiter(self, want, what))

    async def _wait(self, waiter: _Waiter) -> Reservation:
        self._queue.append(waiter)
        self._serve()
        try:
            async with asyncio.timeout(self._time_left()):
                return await waiter.granted
        except TimeoutError:
            self._withdraw(waiter)
            raise self._out_of_time(waiter.what) from None
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: _Waiter) -> None:
        """Takes a waiter that gave up out of the queue, and back what it was granted in the same instant."""
        if waiter in self._queue:
            self._queue.remove(waiter)
        elif waiter.granted.done() and not waiter.granted.cancelled() and not waiter.granted.exception():
            waiter.granted.result().release()
        self._serve()

    def _serve(self) -> None:
        """Grants or refuses those who wait, in order; nobody passes an earlier one at a budget that lacks room for
        it."""
        taken: set[Budget] = set()
        left: list[_Waiter] = []
        for waiter in self._queue:
            chain = waiter.budget._chain
            refusal = waiter.budget._refusal(waiter.want, waiter.what)
            lacking = {budget for budget in chain if not budget._fits(waiter.want)}
            if waiter.granted.done():
                left.append(waiter)
            elif refusal:
                waiter.granted.set_exception(refusal)
                left.append(waiter)
            elif not lacking and taken.isdisjoint(chain):
                waiter.admit()
                left.append(waiter)
            else:
                taken |= lacking
            if chain[-1] in taken:
                break
        for waiter in left:
            self._queue.remove(waiter)

    def _grant(self, want: Amount, what: str) -> Reservation:
        journals = [budget._journal for budget in self._chain if budget._journal]
        tickets = tuple((journal, journal.reserve(want, what)) for journal in journals)
        for budget in self._chain:
            budget._reserved += want
        return Reservation(self, want, tickets)

    def _close(self, want: Amount, bill: Amount, certain: bool) -> None:
        over = bill.tokens > want.tokens > 0 or bill.micro_usd > want.micro_usd > 0
        for budget in self._chain:
            budget._reserved -= want
            budget._spent += bill
            budget._overruns += over
            if not certain:
                budget._unsettled += bill
        self._serve()

    def _has_room(self, want: Amount) -> bool:
        return all(budget._fits(want) for budget in self._chain)

    def _fits(self, want: Amount) -> bool:
        return not self._bounds.excess(self._spent + self._reserved + want)

    def _refusal(self, want: Amount, what: str) -> BudgetError | None:
        """The error for a call that would not fit even if all calls under way turned out to cost nothing."""
        for budget in self._chain:
            over = budget._bounds.excess(budget._spent + want)
            if over:
                state = (want, budget._spent, budget._reserved)
                said = "; ".join(budget._bounds.account(name, *state) for name in over)
                return BudgetError(f"budget: refused {what}: {said}")
        return None

    def _time_left(self) -> float | None:
        deadline = self.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def _check_time(self, what: str) -> None:
        if self._time_left() == 0.0:
            raise self._out_of_time(what)

    def _out_of_time(self, what: str) -> DeadlineError:
        bound = min(budget._seconds for budget in self._chain if budget._seconds is not None)
        return DeadlineError(f"budget: refused {what}: the {bound:g} seconds of the budget are over")


@dataclass(eq=False, slots=True)
class _Waiter:
    budget: Budget
    want: Amount
    what: str
    granted: asyncio.Future[Reservation] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def admit(self) -> None:
        """Hands the reservation over, or the reason why it could not be written down."""
        try:
            self.granted.set_result(self.budget._grant(self.want, self.what))
        except BudgetError as error:
            self.granted.set_exception(error)


class Reservation:
    """Room set aside for one call. Exactly one of its methods ends it; further calls change nothing."""

    __slots__ = ("_budget", "_open", "_tickets", "want")

    def __init__(self, budget: Budget, want: Amount, tickets: tuple[tuple[Journal, str], ...]) -> None:
        self._budget = budget
        self.want = want
        self._tickets = tickets
        self._open = True

    def settle(self, usage: Usage) -> None:
        """The call is over and this is its bill; an unknown cost keeps the worst case in dollars."""
        micro = self.want.micro_usd if usage.cost_usd is None else micro_usd(usage.cost_usd)
        unpriced = usage.calls if usage.cost_usd is None and self.want.unpriced else 0
        self._end(Amount(usage.calls, usage.tokens, micro, unpriced), certain=True)

    def release(self) -> None:
        """The call was never made; it certainly cost nothing."""
        self._end(Amount(), certain=True)

    def keep(self) -> None:
        """The call's bill is unknown: its worst case stays spent, flagged in `Budget.unsettled`."""
        self._end(self.want, certain=False)

    def _end(self, bill: Amount, certain: bool) -> None:
        if not self._open:
            return
        self._open = False
        for journal, ticket in self._tickets:
            journal.settle(ticket, bill, certain)
        self._budget._close(self.want, bill, certain)
