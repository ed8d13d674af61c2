"""The ledger's thread: gathers claims and outcomes, writes them in one transaction, answers the event loop.

A claim wakes the thread at once. Outcomes wait for the next claim or a fiftieth of a second, since nobody waits for
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from archon.errors import ArchonError
from archon.proxy.book import Book, Claim, Grant, Outcome
from archon.proxy.quota import LedgerError

T = TypeVar("T")

LINGER = 0.02
"""Seconds that an outcome may wait for company."""
REAP = 15.0
"""Seconds between looks for processes that died."""
RETRY = 0.5
"""Seconds before outcomes that could not be written are tried again."""
MOST = 1000
"""Requests in one transaction."""

logger = logging.getLogger("archon.proxy.ledger")


@dataclass(frozen=True, slots=True)
class _Claimed:
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


class Writer:
    """Owns the book: nothing else touches it while the thread runs."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._items: SimpleQueue[Item] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._unwritten: list[Outcome] = []

    def claim(self, claim: Claim) -> asyncio.Future[Grant]:
        """The answer to a claim, once it is on file."""
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._send(_Claimed(claim, future))
        return future

    def put(self, outcome: Outcome) -> None:
        """Notes an outcome; never waits."""
        self._send(outcome)

    async def ask(self, question: Callable[[], T]) -> T:
        """The answer to a question, asked after everything that came before it was written."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._send(_Asked(question, future))
        return await future

    async def aclose(self) -> None:
        """Writes what is outstanding, ends the thread, closes the book. Idempotent."""
        if not self._closed:
            self._closed = True
            self._items.put(_Stop())
            if self._thread is None:
                self._run()
            else:
                await asyncio.to_thread(self._thread.join)
            self._book.close()

    def _send(self, item: Item) -> None:
        if self._closed:
            raise LedgerError("the ledger is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="archon-ledger", daemon=True)
            self._thread.start()
        self._items.put(item)

    def _run(self) -> None:
        looked = time.monotonic()
        while True:
            batch = self._gathered()
            self._write(batch)
            if any(isinstance(item, _Stop) for item in batch):
                return
            if time.monotonic() - looked > REAP:
                self._reap()
                looked = time.monotonic()

    def _gathered(self) -> list[Item]:
        """Everything that has come in; lingers only while nobody waits for an answer."""
        batch: list[Item] = []
        with contextlib.suppress(Empty):
            batch.append(self._items.get(timeout=RETRY if self._unwritten else REAP))
            until = time.monotonic() + LINGER
            while len(batch) < MOST:
                patience = until - time.monotonic() if isinstance(batch[-1], Outcome) else 0.0
                until = until if patience > 0 else 0.0
                batch.append(self._items.get(timeout=patience) if patience > 0 else self._items.get_nowait())
        return batch

    def _write(self, batch: Sequence[Item]) -> None:
        claimed = [item for item in batch if isinstance(item, _Claimed)]
        outcomes = self._unwritten + [item for item in batch if isinstance(item, Outcome)]
        if claimed or outcomes:
            self._commit(claimed, outcomes)
        for item in batch:
            if isinstance(item, _Asked):
                self._answer(item)

    def _commit(self, claimed: Sequence[_Claimed], outcomes: list[Outcome]) -> None:
        try:
            grants = self._book.commit([item.claim for item in claimed], outcomes)
        except Exception as error:  # whatever it is, nothing was written: requests are refused, outcomes tried again
            failure = error if isinstance(error, ArchonError) else LedgerError(f"the ledger failed ({error})")
            logger.error("%s; %d outcomes are kept and tried again", failure, len(outcomes))
            self._unwritten = outcomes
            for item in claimed:
                _tell(item.future, None, failure)
            return
        self._unwritten = []
        _tell_all([item.future for item in claimed], grants)

    def _answer(self, asked: _Asked) -> None:
        try:
            if self._unwritten:
                raise LedgerError("the ledger cannot be written")
            _tell(asked.future, asked.question(), None)
        except Exception as error:  # the asker's to handle
            _tell(asked.future, None, error)

    def _reap(self) -> None:
        try:
            if reaped := self._book.reap():
                logger.warning("%d requests of processes that died are charged at their worst case", reaped)
        except Exception as error:  # looked at again at the next round
            logger.error("the ledger could not look for dead processes: %s", error)


def _tell_all(futures: Sequence[asyncio.Future[Grant]], grants: Sequence[Grant]) -> None:
    """Answers all of one loop in one call."""
    if not futures:
        return

    def tell() -> None:
        for future, grant in zip(futures, grants, strict=True):
            if not future.done():
                future.set_result(grant)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        futures[0].get_loop().call_soon_threadsafe(tell)


def _tell(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    def tell() -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

    with contextlib.suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(tell)
