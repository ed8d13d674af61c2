"""Search over inference-time architectures: spaces, samplers, the study, the confirmation of the winner, the report.

`search(settings, progress)` is the one way in; `dry_run(settings)` says what it would take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.search.loading import load_space, parse_space, space_names
from archon.search.settings import Progress, ProgressListener, SearchResult, SearchSettings
from archon.search.space import Space

if TYPE_CHECKING:
    from archon.search.estimate import Estimate

__all__ = [
    "Progress", "ProgressListener", "SearchResult", "SearchSettings", "Space",
    "dry_run", "load_space", "parse_space", "search", "space_names",
]  # fmt: skip


async def search(settings: SearchSettings, progress: ProgressListener = lambda _: None) -> SearchResult:
    """See `archon.search.study.search`."""
    from archon.search.study import search as run

    return await run(settings, progress)


def dry_run(settings: SearchSettings) -> Estimate:
    """See `archon.search.estimate.dry_run`."""
    from archon.search.estimate import dry_run as estimated

    return estimated(settings)
