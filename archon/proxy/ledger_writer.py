"""The ledger's thread: gathers claims and outcomes, writes them in one transaction, answers the event loop.

A claim goes to the thread at the end of the event loop's turn, or when the commit under way is done; where many come,
`PACE` seconds after the last ones. Outcomes wait for the next claim or a fiftieth of a second, since nobody waits for
them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from archon.errors import ArchonError
from archon.proxy.book import Book, Claim, Grant, Outcome
from archon.proxy.quota import LedgerError

T = TypeVar("T")

LINGER = 0.02
"""Seconds that an outcome may wait for company."""
PACE = 0.002
"""Seconds between two commits while requests come thick: what a commit costs beside its rows is shared by more."""
_THICK = 4
"""Items in a batch after which the next one waits for company."""
REAP = 15.0
"""Seconds between looks for processes that died."""
RETRY = 0.5
"""Seconds before outcomes that could not be written are tried again."""

logger = logging.getLogger("archon.proxy.ledger")


class _Claimed(NamedTuple):
    claim: Claim
    future: asyncio.Future[Grant]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question to the book, answered after everything before it is written."""

    question: Callable[[], Any]
    future: asyncio.Future[Any]


class _Stop:
    pass


Item = _Claimed | _Asked | Outcome | _Stop
Answer = tuple["asyncio.Future[Any]", Any, Exception | None, Claim | None]
"""Who waits, what for: a result or an error, and the claim where it is one."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What goes to the thread at once, and the event loop that is told when it is written; None = nobody's."""

    items: list[Item]
    loop: asyncio.AbstractEventLoop | None = None


class Writer:
    """Owns the book: nothing else touches it while the thread runs.

    Items are gathered on the event loop and handed over a batch at a time, one batch under way: waking the thread takes
    the interpreter's lock from the loop, so it is done once a commit and not once a request.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._batches: SimpleQueue[_Batch] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._unwritten: list[Outcome] = []
        self._pending: list[Item] = []
        self._urgent = False
        self._under_way: asyncio.AbstractEventLoop | None = None
        self._planned: asyncio.Handle | None = None
        self._planned_soon = False
        self._paced_until = 0.0
        self._planned_on: asyncio.AbstractEventLoop | None = None

    def claim(self, claim: Claim) -> asyncio.Future[Grant]:
        """The answer to a claim, once it is on file."""
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._send(_Claimed(claim, future), urgent=True)
        return future

    def put(self, outcome: Outcome) -> None:
        """Notes an outcome; never waits."""
        self._send(outcome, urgent=False)

    async def ask(self, question: Callable[[], T]) -> T:
        """The answer to a question, asked after everything that came before it was written."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._send(_Asked(question, future), urgent=True)
        return await future

    async def aclose(self) -> None:
        """Writes what is outstanding, ends the thread, closes the book. Idempotent."""
        if not self._closed:
            self._closed = True
            self._batches.put(_Batch([*self._pending, _Stop()]))
            self._pending = []
            if self._thread is None:
                self._run()
            else:
                await asyncio.to_thread(self._thread.join)
            self._book.close()

    def _send(self, item: Item, urgent: bool) -> None:
        if self._closed:
            raise LedgerError("the ledger is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="archon-ledger", daemon=True)
            self._thread.start()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._batches.put(_Batch([item]))
            return
        self._pending.append(item)
        self._urgent |= urgent
        if self._under_way is not loop:
            self._plan(loop)

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sees to it that what is pending goes to the thread: at the end of this turn of the loop, or soon after."""
        if self._planned is not None and self._planned_on is loop:
            if self._planned_soon or not self._urgent:
                return
            self._planned.cancel()
        self._planned_on, self._planned_soon = loop, self._urgent
        wait = self._paced_until - loop.time() if self._urgent else LINGER
        flush = self._flush
        self._planned = loop.call_later(wait, flush, loop) if wait > 0 else loop.call_soon(flush, loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        self._planned = None
        if self._pending and self._under_way is not loop:
            batch, self._pending, self._urgent = _Batch(self._pending, loop), [], False
            self._under_way = loop
            self._paced_until = loop.time() + PACE if len(batch.items) >= _THICK else 0.0
            self._batches.put(batch)

    def _written(self, loop: asyncio.AbstractEventLoop | None, answers: Sequence[Answer]) -> None:
        """On the event loop: tells who waits, and hands over what has come in meanwhile."""
        for future, result, error, claim in answers:
            if not future.done():
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)
            elif claim is not None and error is None and result.refusal is None and not self._closed:
                # The request was cancelled while it waited for its reservation, so it made no call.
                self._pending.append(Outcome(claim.id, "released", 0, 0))
        self._under_way = None
        if loop is not None and self._pending:
            self._plan(loop)

    def _run(self) -> None:
        looked = time.monotonic()
        while True:
            batch = self._next()
            answers = self._write(batch.items)
            self._tell(batch.loop, answers)
            if any(isinstance(item, _Stop) for item in batch.items):
                return
            if time.monotonic() - looked > REAP:
                self._reap()
                looked = time.monotonic()

    def _next(self) -> _Batch:
        """The next batch; an empty one when it is time to look around."""
        try:
            return self._batches.get(timeout=RETRY if self._unwritten else REAP)
        except Empty:
            return _Batch([])

    def _write(self, batch: Sequence[Item]) -> list[Answer]:
        claimed = [item for item in batch if isinstance(item, _Claimed)]
        outcomes = self._unwritten + [item for item in batch if isinstance(item, Outcome)]
        answers = self._commit(claimed, outcomes) if claimed or outcomes else []
        return answers + [self._answer(item) for item in batch if isinstance(item, _Asked)]

    def _commit(self, claimed: Sequence[_Claimed], outcomes: list[Outcome]) -> list[Answer]:
        try:
            grants = self._book.commit([item.claim for item in claimed], outcomes)
        except Exception as error:  # whatever it is, nothing was written: requests are refused, outcomes tried again
            failure = error if isinstance(error, ArchonError) else LedgerError(f"the ledger failed ({error})")
            logger.error("%s; %d outcomes are kept and tried again", failure, len(outcomes))
            # Where only the confirmation was lost, the claims are on file: releasing them does nothing otherwise.
            self._unwritten = outcomes + [Outcome(item.claim.id, "released", 0, 0) for item in claimed]
            return [(item.future, None, failure, item.claim) for item in claimed]
        self._unwritten = []
        return [(item.future, grant, None, item.claim) for item, grant in zip(claimed, grants, strict=True)]

    def _answer(self, asked: _Asked) -> Answer:
        try:
            if self._unwritten:
                raise LedgerError("the ledger cannot be written")
            return asked.future, asked.question(), None, None
        except Exception as error:  # the asker's to handle
            return asked.future, None, error, None

    def _tell(self, loop: asyncio.AbstractEventLoop | None, answers: Sequence[Answer]) -> None:
        """One call into the loop for the whole batch."""
        loops = {loop} if loop is not None else {told[0].get_loop() for told in answers}
        for each in loops:
            try:
                each.call_soon_threadsafe(self._written, each, [told for told in answers if told[0].get_loop() is each])
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._under_way = None

    def _reap(self) -> None:
        try:
            if reaped := self._book.reap():
                logger.warning("%d requests of processes that died are charged at their worst case", reaped)
        except Exception as error:  # looked at again at the next round
            logger.error("the ledger could not look for dead processes: %s", error)
