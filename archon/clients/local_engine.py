"""Continuous batching in one thread: jobs come from a queue, join the rows under way, and leave when they end.

Each turn of the loop admits waiting jobs to free slots and makes the next tokens of all. Nothing here knows how tokens
are made (`local_decoding`). The thread is a daemon and ends with `close` and with the interpreter; what goes wrong is
told to the jobs it concerns.
"""

from __future__ import annotations

import atexit
import threading
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from archon.clients.local_decoding import Decoding, Made
from archon.clients.local_errors import first_line
from archon.clients.local_jobs import Answer, Job, Token
from archon.clients.local_stream import GrowingText
from archon.errors import ArchonError, ClientError

_JOIN_SECONDS = 5.0
_ADMITTED_TOKENS = 4_096
"""Prompt tokens admitted in one turn, so that answers under way are not held up for long; one prompt always is."""
_Post = tuple[AbstractEventLoop, Callable[[Any], None], Any]


class Engine:
    """The thread of one model.

    Args:
        load: makes the decoding, the score function and sets the threads; called in the thread, before the first job.
        slots: most jobs under way at once.
        ends: tokens that end an answer.
        text: decodes tokens.
    """

    def __init__(
        self,
        load: Callable[[], tuple[Decoding, Callable[[Job], tuple[Token, ...]]]],
        *,
        slots: int,
        ends: frozenset[int],
        text: Callable[[Sequence[int]], str],
    ) -> None:
        self._load = load
        self._slots = slots
        self._ends = ends
        self._text = text
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, None] = {}
        self._posts: list[_Post] = []
        self._changed = threading.Condition()
        self._closed: ArchonError | None = None
        """Why no job is taken any more."""
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Queues a job; `job.done` is called in its loop, once. Starts the thread when it does not run yet."""
        with self._changed:
            if self._closed is not None:
                raise self._closed
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="archon-local", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread; jobs under way get a ClientError. Idempotent; blocks until the step under way is done."""
        with self._changed:
            self._closed = self._closed or ClientError("local model: the client is closed", billed=False)
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(_JOIN_SECONDS)
            atexit.unregister(self.close)

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # the one place that may not let anything pass: waiting callers would hang
            with self._changed:
                self._closed = _told(error)
                self._fail_all(self._closed)

    def _serve(self) -> None:
        import torch

        with torch.inference_mode():
            self._decoding, self._score = self._load()
            while self._awaited():
                self._drop_cancelled()
                self._admit()
                if self._running:
                    self._take(self._guarded(self._decoding.next))
                self._deliver()
        self._fail_all(ClientError("local model: the client was closed while the call was under way"))

    def _awaited(self) -> bool:
        """Waits for something to do; False when the engine is closed."""
        with self._changed:
            while not (self._closed is not None or self._waiting or self._running):
                self._changed.wait()
            return self._closed is None

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._running if job.cancelled]:
            self._leave(job)

    def _admit(self) -> None:
        """Takes in as many waiting jobs as there are slots; scoring needs none.

        A full house waits until an eighth of the slots is free: prompts run together cost far less than one by one.
        """
        if self._slots - len(self._running) < min(len(self._waiting), self._slots // 8):
            return
        fresh: list[Job] = []
        prompts: set[tuple[int, ...]] = set()
        while self._waiting and len(self._running) + len(fresh) < self._slots:
            if sum(map(len, prompts)) >= _ADMITTED_TOKENS:
                break
            job = self._waiting.popleft()
            if job.cancelled:
                continue
            job.began = time.perf_counter()
            if job.scored:
                self._end_scored(job)
                continue
            job.growing = GrowingText(self._text, job.stops) if job.stops or job.piece else None
            fresh.append(job)
            prompts.add(job.prompt)
        if fresh:
            self._running.update(dict.fromkeys(fresh))
            self._take(self._guarded(lambda: self._decoding.begin(fresh)))

    def _guarded(self, make: Callable[[], Made]) -> Made:
        """What `make` gives; an error it did not lay at one job's door is every running job's."""
        try:
            return make()
        except Exception as error:
            for job in self._running:
                self._free(job)
            return dict.fromkeys(self._running, _told(error))

    def _take(self, made: Made) -> None:
        for job, tokens in made.items():
            if isinstance(tokens, BaseException):
                del self._running[job]
                self._post(job, job.done, tokens)
                continue
            for token in tokens:
                if self._grown(job, token):
                    break

    def _grown(self, job: Job, token: Token) -> bool:
        """Adds a token to a job's answer; whether that ends it."""
        ended = token.id in self._ends
        job.tokens.append(token)
        if not ended and job.growing is not None:
            job.growing.add(token.id)
            ended = job.growing.stopped
        if not ended and len(job.tokens) < job.limit:
            self._show(job)
            return False
        self._leave(job)
        answer = self._answer(job, "stop" if ended else "length")
        self._show(job, last=True)
        self._post(job, job.done, answer)
        return True

    def _show(self, job: Job, *, last: bool = False) -> None:
        if job.piece is not None and (piece := job.growing.fresh(last=last)):
            self._post(job, job.piece, piece)

    def _answer(self, job: Job, reason: str) -> Answer:
        seconds = time.perf_counter() - job.began
        kept = tuple(token for token in job.tokens if token.id not in self._ends)
        if job.growing is None:
            return Answer(
                self._text([token.id for token in kept]), kept, len(job.tokens), reason, seconds, job.drafting
            )
        job.growing.finish()
        if job.growing.stopped:
            starts = [0, *job.growing.ends]
            kept = tuple(token for token, at in zip(kept, starts, strict=False) if at < len(job.growing.text))
            reason = "stop"
        return Answer(job.growing.text, kept, len(job.tokens), reason, seconds, job.drafting)

    def _end_scored(self, job: Job) -> None:
        try:
            tokens = self._score(job)
        except Exception as error:
            self._post(job, job.done, _told(error))
            return
        self._post(job, job.done, Answer("", tokens, 0, "stop", time.perf_counter() - job.began, job.drafting))

    def _leave(self, job: Job) -> None:
        del self._running[job]
        self._decoding.end(job)

    def _free(self, job: Job) -> None:
        try:
            self._decoding.end(job)
        except Exception:
            return  # it held nothing, or cannot let go of it; the error that led here is the one to tell

    def _post(self, job: Job, call: Callable[[Any], None], value: Any) -> None:
        self._posts.append((job.loop, call, value))

    def _deliver(self) -> None:
        """Wakes each loop once for all there is to tell it."""
        posts, self._posts = self._posts, []
        for loop in dict.fromkeys(loop for loop, _, _ in posts):
            try:
                loop.call_soon_threadsafe(_call_all, [(call, value) for at, call, value in posts if at is loop])
            except RuntimeError:
                continue  # the loop is closed, so nobody waits there any more

    def _fail_all(self, error: BaseException) -> None:
        with self._changed:
            jobs = [*self._running, *self._waiting]
            self._running.clear()
            self._waiting.clear()
        for job in jobs:
            self._post(job, job.done, error)
        self._deliver()


def _call_all(calls: Sequence[tuple[Callable[[Any], None], Any]]) -> None:
    for call, value in calls:
        call(value)


def _told(error: BaseException) -> ArchonError:
    """The error as one of this project's."""
    if isinstance(error, ArchonError):
        return error
    return ClientError(f"local model: {type(error).__name__}: {first_line(error)}")
