"""A small world for searches: scripted models that add numbers with known skill, their questions and a space."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

from archon.evals.benchmarks.base import QuestionSet
from archon.evals.scorers import ExactScorer
from archon.search import SearchSettings, Space, parse_space
from archon.types import Question, Request, Split, derived_seed, user

SKILLS = {"weak": 0.5, "fair": 0.6, "good": 0.7}
MODELS = tuple(f"fake/{name}" for name in SKILLS)


def added(request: Request, name: str, skill: float) -> str:
    """A sum that is right with probability `skill`; a draw's luck depends on its name alone."""
    question = request.messages[-1].text
    first, second = (int(number) for number in re.findall(r"\d+", question)[:2])
    greedy = request.sampling.temperature == 0
    luck = derived_seed(name, request.canonical(), 0 if greedy else request.sample) / 2**63
    return f"The answer is {first + second + (0 if luck < skill else 1 + int(luck * 7))}"


def weak(request: Request) -> str:
    """Right half the time."""
    return added(request, "weak", SKILLS["weak"])


def fair(request: Request) -> str:
    """Right six times in ten."""
    return added(request, "fair", SKILLS["fair"])


def good(request: Request) -> str:
    """Right seven times in ten."""
    return added(request, "good", SKILLS["good"])


def rows(**more: Any) -> list[dict[str, Any]]:
    """Rows of the model table."""
    return [
        {
            "id": f"fake/{name}",
            "client": "fake",
            "price": {"prompt": 1, "completion": 2},
            "options": {"answers": f"tests.search.fakes:{name}"},
            **more,
        }
        for name in SKILLS
    ]


def space(**more: Any) -> Space:
    """Votes and fusions of the three models."""
    team = {"subset_of": list(MODELS)}
    drafts = {"layer": "generator", "models": "$team", "params": {"samples": "$samples"}}
    families = [
        {
            "name": "vote",
            "choices": {"team": team, "samples": [1, 2, 3, 5]},
            "stages": [drafts, {"layer": "vote", "skip_below": 3}],
        },
        {
            "name": "fuse",
            "choices": {"team": team, "samples": [1, 2], "judge": list(MODELS)},
            "stages": [drafts, {"layer": "fuser", "model": "$judge", "skip_below": 2}],
        },
    ]
    given = {"name": "sums", "models": rows(), "limits": {"calls": 12, "candidates": 10}, "families": families}
    return parse_space({**given, **more})


def sums(search: int = 24, selection: int = 30, held_out: int = 60) -> QuestionSet:
    """Additions, dealt to the splits."""
    rng, splits = Random(7), dict[Split, tuple[Question, ...]]()
    sizes: dict[Split, int] = {"search": search, "selection": selection, "held_out": held_out}
    for split, size in sizes.items():
        splits[split] = tuple(_question(split, number, rng) for number in range(size))
    return QuestionSet(name="sums", extractor="number", scorer=ExactScorer("number"), splits=splits, source="a seed")


def settings(out: Path, **more: Any) -> SearchSettings:
    """A small search."""
    given: dict[str, Any] = {"space": space(), "benchmark": sums(), "out": out, "trials": 8, "finalists": 4, "seed": 3}
    return SearchSettings(**{**given, **more})


def _question(split: str, number: int, rng: Random) -> Question:
    first, second = rng.randrange(100, 1000), rng.randrange(100, 1000)
    return Question(f"{split}-{number}", (user(f"What is {first} plus {second}?"),), str(first + second))
