"""A search in a process of its own, to be killed: python -m tests.search.driver OUT ENDPOINT."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from archon.search import Space, search
from tests.search.fakes import MODELS, settings, space

CONCURRENCY = 4


def served(endpoint: str) -> Space:
    """The small space over models behind an endpoint."""
    models: list[dict[str, Any]] = [
        {
            "id": model,
            "endpoint": endpoint,
            "name": model.removeprefix("fake/"),
            "send_seed": True,
            "price": {"prompt": 1, "completion": 2},
        }
        for model in MODELS
    ]
    return space(models=models)


def main(out: str, endpoint: str, resume: bool) -> str:
    """Searches, or goes on; returns the winner's hash."""
    given = settings(
        Path(out), space=served(endpoint), concurrency=CONCURRENCY, resume=resume, max_calls=900, trials=10
    )
    return str(asyncio.run(search(given)).summary["winner"]["hash"])


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], resume=True))
