"""A staged upstream and an architecture over it, for tests that look at runs: drafts, critique, ranking, fusion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from archon.proxy.keys import open_store
from archon.proxy.settings import Settings
from tests.proxy.serving import system, upstream
from tests.servers import Reply

QUESTION = "Ann has 12 pens. Ann buys 3 boxes of 14 pens and gives 9 pens to Ben. How many pens does Ann have now?"
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> [x](javascript:alert(1))"
)
DRAFTS = (
    "3 boxes of 14 pens make 42 pens, and 12 + 42 = 54. Nine are given away, so 45 are left. Ann has 45 pens.",
    "Ann starts with 12 pens and buys 3 + 14 = 17 more, so she has 29. After giving 9 away she keeps 20.",
    "The boxes hold 3 × 14 = 42 pens. With the first 12 that makes 54 pens. She gives 9 away: 54 − 9 = 45 pens.",
    "3 × 14 = 42 and 12 + 42 = 54, so Ann has 54 pens.",
)
CRITIQUES = """CRITIQUE 1:
Strengths: every step is right and in order; the answer stands at the end.
Weaknesses: skips the last subtraction's figures.
CRITIQUE 2:
Strengths: says which steps it takes.
Weaknesses: adds 3 and 14 where they must be multiplied, so everything after it is wrong.
CRITIQUE 3:
Strengths: correct, with each product and sum written out.
Weaknesses: none that matters.
CRITIQUE 4:
Strengths: the product and the sum are right.
Weaknesses: forgets the 9 pens that were given away."""
RANKING = (
    "Answers 1 and 3 are correct; 3 is the cleaner of them. 4 stops too early, 2 adds wrongly.\nRANKING: 3 > 1 > 4 > 2"
)
FUSED = "The 3 boxes hold 3 × 14 = 42 pens. 12 + 42 = 54, and 54 − 9 = 45.\n\nAnn has 45 pens."

LATENCY = {"draft": 0.25, "critique": 0.2, "rank": 0.15, "fuse": 0.3}


def staged(speed: float = 0.0, words: str = "") -> Callable[[dict[str, Any]], Reply]:
    """What the upstream answers to each role's prompt.

    Args:
        speed: how much of the staged latency is played.
        words: put before every text.
    """
    drafts = iter(DRAFTS * 50)

    def answer(body: dict[str, Any]) -> Reply:
        prompt = str(body["messages"])
        if "Criticise" in prompt:
            return Reply(_critiques(words), latency=speed * LATENCY["critique"], usage=_usage(412, 168))
        if "RANKING:" in prompt:
            return Reply(words + RANKING, latency=speed * LATENCY["rank"], usage=_usage(655, 38))
        if len(body["messages"]) > 1 or "answers to" in prompt:
            return Reply(words + FUSED, latency=speed * LATENCY["fuse"], usage=_usage(520, 41))
        return Reply(words + next(drafts), latency=speed * LATENCY["draft"], usage=_usage(58, 44))

    return answer


def _critiques(words: str) -> str:
    return CRITIQUES.replace("Strengths: ", "Strengths: " + words)


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def nodes() -> list[dict[str, Any]]:
    """Two generators of two models, side by side; then critic, ranker, fuser."""
    return [
        {"id": "quick", "layer": "generator", "model": "acme/quick-3b", "params": {"samples": 2}},
        {"id": "careful", "layer": "generator", "model": "acme/careful-8b", "params": {"samples": 2}},
        {"id": "critic", "layer": "critic", "model": "acme/careful-8b", "inputs": ["quick", "careful"]},
        {"id": "ranker", "layer": "ranker", "model": "acme/careful-8b", "params": {"keep": 2}, "inputs": ["critic"]},
        {"id": "fuser", "layer": "fuser", "model": "acme/careful-8b", "inputs": ["ranker"]},
    ]


def models(endpoint: str) -> list[dict[str, Any]]:
    """The two models, both at the staged upstream."""
    return [
        upstream(endpoint, "acme/quick-3b", price={"prompt": 0.05, "completion": 0.1}),
        upstream(endpoint, "acme/careful-8b", price={"prompt": 0.2, "completion": 0.4}),
    ]


def settings(folder: Path, endpoint: str, **more: Any) -> tuple[str, Settings]:
    """Settings of a server with one key, and the key."""
    store = str(folder / "proxy.db")
    secret, _ = open_store(store).create("ann", usd_per_day=5_000_000, requests_per_minute=600)
    file = system(folder, "second-opinion", nodes(), models(endpoint))
    return secret, Settings(files=(file,), store=store, **more)
