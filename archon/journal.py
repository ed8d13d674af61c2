"""A budget's memory on disk: reservations and bills, appended as they happen, read again when a killed run resumes.

One JSON list a line: ["r", ticket, calls, tokens, micro_usd, unpriced, what] before a call, ["s", ticket, calls,
tokens, micro_usd, unpriced, certain] after it. Lines are written by one `write` each, so they outlive the process the
moment they are made (SIGKILL included; not a power failure), and a line torn by a full disk is skipped. Holds no
prompt.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archon.amounts import Amount
from archon.errors import BudgetError, ConfigError


class Journal:
    """An append-only file of reservations and bills. One journal writes it at a time, which a lock on the file holds.

    Raises:
        ConfigError: the file cannot be opened, or another journal has it open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run = secrets.token_hex(4)
        self._count = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            self._torn = not _ends_clean(self._file)
        except OSError as error:
            raise ConfigError(f"budget journal {path}: cannot be opened ({error.strerror})") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise ConfigError(
                f"budget journal {path}: another run is writing it; wait for its end, or give another file"
            ) from None

    def recover(self) -> tuple[Amount, Amount]:
        """(spent, unsettled) of everything written so far; open reservations are closed with their worst case."""
        spent, unsettled = Amount(), Amount()
        waiting: dict[str, Amount] = {}
        for kind, ticket, amount, certain in self._entries():
            if kind == "r":
                waiting[ticket] = amount
                continue
            waiting.pop(ticket, None)
            spent += amount
            unsettled += Amount() if certain else amount
        for ticket, amount in waiting.items():
            self.settle(ticket, amount, certain=False)
            spent, unsettled = spent + amount, unsettled + amount
        return spent, unsettled

    def reserve(self, want: Amount, what: str) -> str:
        """Notes a reservation before its call is made; returns its ticket.

        Raises:
            BudgetError: it could not be written, so that a resumed run would not know of the call.
        """
        self._count += 1
        ticket = f"{self._run}-{self._count}"
        self._write(["r", ticket, *want.fields(), what])
        return ticket

    def settle(self, ticket: str, bill: Amount, certain: bool) -> None:
        """Notes a reservation's end. Should that fail, the worst case stands, which is safe."""
        try:
            self._write(["s", ticket, *bill.fields(), certain])
        except BudgetError:
            return

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, entry: list[Any]) -> None:
        line = b"\n" * self._torn + json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        try:
            if self._file is None:
                raise OSError(0, "it is closed")
            written = os.write(self._file, line)
        except OSError as error:
            raise BudgetError(f"budget journal {self._path}: cannot be written ({error.strerror})") from None
        self._torn = written < len(line)
        if self._torn:
            raise BudgetError(f"budget journal {self._path}: cannot be written (disk full)")

    def _entries(self) -> Iterator[tuple[str, str, Amount, bool]]:
        with self._path.open("rb") as lines:
            for line in lines:
                try:
                    kind, ticket, calls, tokens, micro, unpriced, last = json.loads(line)
                    yield kind, ticket, Amount(int(calls), int(tokens), int(micro), int(unpriced)), last is True
                except (ValueError, TypeError):
                    continue


def _ends_clean(file: int) -> bool:
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"
