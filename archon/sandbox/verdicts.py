"""`CodeSandbox`: tests of programs, decided in the pool's workers (archon.protocols.Sandbox)."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from archon.errors import ConfigError
from archon.sandbox.backends import Backend
from archon.sandbox.limits import Limits
from archon.sandbox.names import exposed
from archon.sandbox.pool import Pool
from archon.sandbox.probe import strongest
from archon.sandbox.process import Report, SandboxError

_MOST_REMEMBERED = 50_000
_BREAKS = 2
_Key = tuple[str, tuple[str, ...], str]


class CodeSandbox:
    """Runs model-written Python where it can do no harm. Nothing is probed or started before the first use.

    Args:
        unsafe: where no isolation works, run code all the same, with resource limits and whatever else holds.
        limits: of every run.
        workers: runs at once; None = one a processor.
        backend: one of `archon.sandbox.backends`; None = the strongest whose every guarantee holds.

    A verdict is remembered for the sandbox's life, so that one test of one program is run once. Thread-safe, and not
    bound to an event loop.
    """

    def __init__(
        self,
        *,
        unsafe: bool = False,
        limits: Limits = Limits(),
        workers: int | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.limits = limits
        self.runs = 0
        """Jobs given to workers."""
        self._unsafe, self._backend = unsafe, backend
        self._size = workers or _processors()
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._pool: Pool | None = None
        self._closed = False
        self._known: OrderedDict[_Key, bool] = OrderedDict()

    async def ready(self) -> Backend:
        """The backend in use, found out at the first call: for who wants a refusal before anything is spent.

        Raises:
            ConfigError: nothing safe works here and `unsafe` was not asked for.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads(), self._chosen)

    def require(self) -> Backend:
        """`ready` for who has no event loop: blocks. Raises as `ready` does."""
        return self._chosen()

    async def check(self, program: str, test: str) -> bool:
        """Whether `test` passes after `program`; see `check_all`."""
        return (await self.check_all(program, (test,)))[0]

    async def check_all(self, program: str, tests: Sequence[str], *, names: Sequence[str] = ()) -> tuple[bool, ...]:
        """Whether each test passes after `program`, in one run as long as the program stays responsive.

        A test that hangs, or whose call ends the program, is failed and the rest is run anew; after the second such
        test the rest is failed as well. `names` are the program's functions that the tests may call; none given =
        all that it defines at its top level, Python's built-in names left out.

        Raises:
            ConfigError: nothing safe works here.
            SandboxError: no worker could be started; nothing is known of the program.
        """
        shown = tuple(names) or exposed(program)
        known = {test: self._known[program, shown, test] for test in tests if (program, shown, test) in self._known}
        missing = [test for test in dict.fromkeys(tests) if test not in known]
        if missing:
            decide = asyncio.get_running_loop().run_in_executor(self._threads(), self._decided, program, missing, shown)
            fresh = dict(zip(missing, await decide, strict=True))
            self._remember(program, shown, fresh)
            known |= fresh
        return tuple(known[test] for test in tests)

    def examine(self, program: str, tests: Sequence[str], names: Sequence[str] = ()) -> Report:
        """One run, with what was said of each test. Blocks. Raises as `check_all` does."""
        self._chosen()
        assert self._pool is not None
        with self._lock:
            self.runs += 1
        shown = tuple(names) or exposed(program)
        try:
            with self._pool.worker() as worker:
                return worker.examine(program, tests, shown)
        except SandboxError:  # it may have been killed while it was idle; a new one tells whether more is wrong
            with self._pool.worker(new=True) as worker:
                return worker.examine(program, tests, shown)

    def close(self) -> None:
        """Ends every waiting worker, after the runs under way. Idempotent."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor:
            executor.shutdown()
        if self._pool:
            self._pool.close()

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> CodeSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decided(self, program: str, tests: Sequence[str], names: tuple[str, ...]) -> list[bool]:
        passed: list[bool] = []
        for _ in range(_BREAKS):
            report = self.examine(program, tests[len(passed) :], names)
            passed += [each for each, _ in report.results]
            if report.load_error is not None or len(passed) == len(tests):
                break
        return passed + [False] * (len(tests) - len(passed))

    def _chosen(self) -> Backend:
        with self._lock:
            if self._closed:
                raise ConfigError("this sandbox is closed; open a new one")
            if self._backend is None:
                self._backend = self._found()
            if self._pool is None:
                self._pool = Pool(self._backend, self.limits)
            return self._backend

    def _found(self) -> Backend:
        if os.name != "posix":
            raise ConfigError("model-written code cannot be run on this system; use Linux, or WSL on Windows")
        try:
            return strongest(self.limits)
        except ConfigError:
            if not self._unsafe:
                raise
        warnings.warn("model-written code runs without isolation (--unsafe-exec)", stacklevel=2)
        return Backend("unsafe")

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise ConfigError("this sandbox is closed; open a new one")
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._size, "sandbox")
            return self._executor

    def _remember(self, program: str, names: tuple[str, ...], verdicts: dict[str, bool]) -> None:
        self._known.update({(program, names, test): passed for test, passed in verdicts.items()})
        while len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
