"""`archon keys`: the API keys of the proxy. A new key is printed once; only its hash is kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from archon.amounts import Bounds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from archon.proxy.keys import KeyRecord, KeyStore

app = typer.Typer(help="API keys of `archon serve`, with their budgets.", no_args_is_help=True, rich_markup_mode=None)

VARIABLE = "ARCHON_STORE"
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        help=f"SQLite file or postgresql:// URL; default: ${VARIABLE}, else proxy.db in the state folder.",
    ),
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people.")],
    usd_per_day: Annotated[float | None, typer.Option(min=0, help="Most US dollars a UTC day.")] = None,
    tokens_per_day: Annotated[int | None, typer.Option(min=0, help="Most tokens a UTC day.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Most requests a minute.")] = None,
    store: Store = None,
) -> None:
    """Make a key and print it, this once."""
    micro = Bounds.checked(None, tokens_per_day, usd_per_day).micro_usd
    keys = _opened(store)
    secret, record = keys.create(
        name, usd_per_day=micro, tokens_per_day=tokens_per_day, requests_per_minute=requests_per_minute
    )
    keys.close()
    typer.echo(secret)
    typer.echo(f"{record.id} ({record.name}): it is not kept and cannot be shown again", err=True)


@app.command("list")
def show(store: Store = None) -> None:
    """List the keys with their budgets and today's use."""
    from rich.console import Console

    from archon.console import table

    url, keys = _url(store), _opened(store)
    records = keys.list()
    keys.close()
    columns = ("id", "name", "USD a day", "tokens a day", "requests a minute", "spent today", "created", "state")
    Console(width=None if os.isatty(1) else 160).print(table("keys", columns, list(_rows(records, url))))


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `archon keys list` shows it.")], store: Store = None
) -> None:
    """Put a key out of force; servers notice within two seconds."""
    keys = _opened(store)
    record = keys.revoke(key_id)
    keys.close()
    typer.echo(f"{record.id} ({record.name}) is revoked")


def _url(store: str | None) -> str:
    from archon.proxy.keys import default_store

    return store or os.environ.get(VARIABLE) or default_store()


def _opened(store: str | None) -> KeyStore:
    from archon.proxy.keys import open_store

    return open_store(_url(store))


def _rows(records: Sequence[KeyRecord], url: str) -> Iterator[tuple[str, ...]]:
    import time

    from archon.proxy.ledger import day_of, totals_of

    spent = totals_of(url, day_of(time.time()))
    for record in records:
        total = spent.get(record.id)
        yield (
            record.id,
            record.name,
            _bound(record.usd_per_day, 1e6),
            _bound(record.tokens_per_day),
            _bound(record.requests_per_minute),
            "–" if total is None else f"${total.spent_micro_usd / 1e6:.6f}, {total.spent_tokens:,} tokens",
            datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M"),
            "in force" if record.revoked is None else "revoked",
        )


def _bound(value: int | None, unit: float = 1) -> str:
    return "–" if value is None else f"{value / unit:,.2f}" if unit > 1 else f"{value:,}"
