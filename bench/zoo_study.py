"""What the zoo teaches: what more samples buy under each technique, and when mixing models beats more of the best one.

    python bench/zoo_study.py [--questions 120] [--out build/zoo-study] [--docs docs]

Two questions, on both task families, everything through the engine's own layers:

1. Quality against the number of samples of one expert: vote, verifier, ranker, fuser, unit tests. The captain judges,
   fuses and writes the tests: of word problems in plain words, which it judges too, of code as calls, which are run.
   Beside them, for code, the tests that need no model: the examples in the question.
2. Self-MoA against mixed MoA (Li et al. 2025, arXiv 2502.00674): six proposals of one to three models, fused, for 65
   mixes (PARTS); then the paper's regression t = αq + βd + γ over the mixes: t the accuracy of the
   fusion, q the mean accuracy of the proposals, d their diversity (the Vendi score under "same answer or not": the
   exponential of the entropy of a question's answers, averaged over questions).

Resumes: calls lie in OUT/calls.sqlite, finished systems in OUT/runs.jsonl. Ends with one JSON line; --docs writes the
page with its pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from statistics import fmean
from typing import Any

from archon import ExampleTests, Fuser, Generator, Ranker, UnitTestEvaluator, UnitTestGenerator, Verifier, Vote, zoo
from archon.architecture import Architecture
from archon.clients.stack import ClientStack
from archon.clients.store import CacheStore
from archon.compose import Part
from archon.context import NodeContext, RunContext
from archon.default_models import with_defaults
from archon.errors import RunError
from archon.evals.metrics import wilson
from archon.evals.runner import evaluate
from archon.executor import run
from archon.extract import extractor
from archon.models import ModelTable
from archon.protocols import Benchmark
from archon.registry import benchmark_class
from archon.sandbox import CodeSandbox
from archon.types import Completion, Question, Usage
from bench.regression import Fit, least_squares, standardised

FAMILIES: Mapping[str, str] = {"ledger": "zoo/clerk", "minicode": "zoo/scribe"}
"""Task families and the expert whose samples the first question is about."""
MODELS = ("zoo/captain", "zoo/clerk", "zoo/scribe", "zoo/steward", "zoo/till")
JUDGE = "zoo/captain"
TESTERS: Mapping[str, Mapping[str, Part]] = {
    "ledger": {"unit tests": UnitTestGenerator(JUDGE, cap=3)},
    "minicode": {"unit tests": UnitTestGenerator(JUDGE, cap=5, kind="executable"), "example tests": ExampleTests()},
}
"""Where unit tests come from, by the technique's name."""
SAMPLES = (1, 2, 3, 5, 8, 12)
PROPOSALS = 6
PARTS = ((6,), (5, 1), (4, 2), (3, 3), (2, 2, 2))
"""How six proposals are shared by one to three models: 65 mixes of five models."""
TEMPERATURE = 0.7


@dataclass(frozen=True)
class Mix:
    """How many proposals each model makes."""

    counts: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        return " + ".join(f"{count} {model.removeprefix('zoo/')}" for model, count in self.counts)

    def proposers(self) -> Part:
        """Their generators side by side."""
        first, *rest = (Generator(model, samples=count, temperature=TEMPERATURE) for model, count in self.counts)
        part: Part = first
        for other in rest:
            part = part | other
        return part


def mixes() -> list[Mix]:
    """Every way to give the parts of `PARTS` to different models."""
    found: dict[frozenset[tuple[str, int]], Mix] = {}
    for parts in PARTS:
        for models in permutations(MODELS, len(parts)):
            counts = tuple(sorted(zip(models, parts, strict=True)))
            found.setdefault(frozenset(counts), Mix(counts))
    return list(found.values())


def techniques(family: str, samples: int) -> Iterator[tuple[str, Architecture]]:
    """Every technique over so many samples of the family's expert."""
    drafts = Generator(FAMILIES[family], samples=samples, temperature=TEMPERATURE)
    yield "vote", (drafts >> Vote()).architecture()
    if samples == 1:
        return
    yield "verifier", (drafts >> Verifier(JUDGE) >> Vote()).architecture()
    yield "ranker", (drafts >> Ranker(JUDGE, keep=1)).architecture()
    yield "fuser", (drafts >> Fuser(JUDGE, temperature=0.0)).architecture()
    for name, tester in TESTERS[family].items():
        tested = drafts >> tester >> UnitTestEvaluator(JUDGE, first_k=samples)
        yield name, (tested >> Vote()).architecture()


class Study:
    """Runs systems once and remembers what came of them."""

    def __init__(self, out: Path, questions: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.count = out, questions
        self.stack = ClientStack(with_defaults(ModelTable([]), MODELS), cache=CacheStore(out / "calls.sqlite"))
        self.sandbox = CodeSandbox()
        self.benchmarks: dict[str, Benchmark] = {
            family: benchmark_class(family).load(seed=2026, held_out=questions) for family in FAMILIES
        }
        self.marks = {family: self._mark(family) for family in FAMILIES}
        self.known = {row["key"]: row for row in self._rows()}

    def _mark(self, family: str) -> str:
        """What results depend on besides the system: the questions and the models' weights."""
        weights = [zoo.model(model.removeprefix("zoo/")).sha256 for model in MODELS]
        asked = [question.id for question in self.questions(family)]
        return f"{family}/{hashlib.sha256(json.dumps([weights, asked]).encode()).hexdigest()[:16]}"

    def _rows(self) -> Iterator[dict[str, Any]]:
        file = self.out / "runs.jsonl"
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                yield json.loads(line)
            except ValueError:
                continue  # empty, or what was being written when a run was killed

    def questions(self, family: str) -> Sequence[Question]:
        return self.benchmarks[family].questions("held_out")

    async def accuracy(self, family: str, architecture: Architecture) -> list[float]:
        """Scores of a system, in the order of the questions."""
        key = f"{self.marks[family]}/{architecture.hash}"
        if key not in self.known:
            benchmark = self.benchmarks[family]
            found = await evaluate(
                architecture, benchmark, self.questions(family), self.stack, concurrency=48, sandbox=self.sandbox
            )
            scores = [found.scores.get(question.id) or 0.0 for question in self.questions(family)]
            self._remember({"key": key, "scores": scores})
        scored: list[float] = self.known[key]["scores"]
        return scored

    async def proposals(self, family: str, model: str) -> list[list[tuple[str | None, float]]]:
        """Answer and score of each proposal of one model, question by question."""
        key = f"{self.marks[family]}/proposals of {model}"
        if key not in self.known:
            limit = asyncio.Semaphore(48)
            rows = [self._proposals(family, model, question, limit) for question in self.questions(family)]
            self._remember({"key": key, "rows": await asyncio.gather(*rows)})
        return [[(answer, score) for answer, score in row] for row in self.known[key]["rows"]]

    async def _proposals(
        self, family: str, model: str, question: Question, limit: asyncio.Semaphore
    ) -> list[tuple[str | None, float]]:
        benchmark, drafts = self.benchmarks[family], Generator(model, samples=PROPOSALS, temperature=TEMPERATURE)
        read = extractor(benchmark.extractor)
        context = NodeContext(RunContext(self.stack, read, sandbox=self.sandbox), "score")
        async with limit:
            try:
                result = await run(drafts.architecture(), question.messages, self.stack, extractor=benchmark.extractor)
            except RunError:
                return [(None, 0.0)] * PROPOSALS  # a model out of its depth may have nothing to say
            messages = {candidate.text: candidate.message for candidate in result.candidates}
            scores = dict[str, float]()
            for text, message in messages.items():
                found = await benchmark.scorer.score(question, Completion(message, model, Usage()), context)
                scores[text] = found.value or 0.0
        said = [(read(candidate.text), scores[candidate.text]) for candidate in result.candidates]
        return [*said, *[(None, 0.0)] * (PROPOSALS - len(said))]

    def _remember(self, row: dict[str, Any]) -> None:
        self.known[row["key"]] = row
        with (self.out / "runs.jsonl").open("a") as file:
            # The line's end comes first: what a kill has cut off must not swallow this one.
            file.write("\n" + json.dumps(row))

    async def aclose(self) -> None:
        await self.stack.aclose()


def vendi(answers: Sequence[str | None]) -> float:
    """Effective number of different answers: exp of the entropy of their shares; having none is one of them.

    Were each missing answer taken for a different one, models that do not know a family would look the most diverse.
    """
    groups = Counter(answers)
    return math.exp(-sum(n / len(answers) * math.log(n / len(answers)) for n in groups.values()))


async def by_samples(study: Study, family: str) -> dict[str, dict[int, list[float]]]:
    """Scores of each technique by number of samples, in the order of the questions."""
    found: dict[str, dict[int, list[float]]] = {}
    for samples in SAMPLES:
        for name, architecture in techniques(family, samples):
            scores = await study.accuracy(family, architecture)
            for each in ("verifier", "ranker", "fuser", *TESTERS[family], "vote") if samples == 1 else (name,):
                found.setdefault(each, {})[samples] = scores
            print(f"{family:9} {name:10} {samples:2} samples  {_share(scores)}", flush=True)
    return found


async def by_mix(study: Study, family: str) -> list[dict[str, Any]]:
    """Quality, diversity and accuracy after fusion of every mix."""
    made = {model: await study.proposals(family, model) for model in MODELS}
    rows = list[dict[str, Any]]()
    for mix in mixes():
        drafts = [
            [one for model, count in mix.counts for one in made[model][place][:count]]
            for place in range(len(study.questions(family)))
        ]
        fused = await study.accuracy(family, (mix.proposers() >> Fuser(JUDGE, temperature=0.0)).architecture())
        rows.append(
            {
                "mix": mix.name,
                "models": len(mix.counts),
                "quality": fmean(score for row in drafts for _, score in row),
                "diversity": fmean(vendi([answer for answer, _ in row]) for row in drafts),
                "accuracy": fmean(fused),
                "scores": fused,
            }
        )
        print(
            f"{family:9} {mix.name:32} q {rows[-1]['quality']:.3f} d {rows[-1]['diversity']:.2f} {_share(fused)}",
            flush=True,
        )
    return rows


def fits(rows: Sequence[Mapping[str, Any]]) -> dict[str, Fit]:
    """The regression with predictors as they are, and in standard deviations as the paper has them."""
    q, d, t = ([float(row[name]) for row in rows] for name in ("quality", "diversity", "accuracy"))
    points = [100 * value for value in t]
    return {
        "raw": least_squares({"quality": q, "diversity": d}, t),
        "standardised": least_squares({"quality": standardised(q), "diversity": standardised(d)}, points),
    }


def _share(scores: Sequence[float]) -> str:
    interval = wilson(int(sum(scores)), len(scores))
    return f"{fmean(scores):.1%} [{interval.low:.1%}, {interval.high:.1%}]"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=120, help="of each family, from the held-out split")
    parser.add_argument("--out", type=Path, default=Path("build/zoo-study"))
    parser.add_argument("--docs", type=Path, help="folder for the page and its pictures")
    given = parser.parse_args()
    if given.questions < 2:
        parser.error("--questions must be at least 2: mixes are chosen on one half and judged on the other")
    study = Study(given.out, given.questions)
    try:
        samples = {family: await by_samples(study, family) for family in FAMILIES}
        mixed = {family: await by_mix(study, family) for family in FAMILIES}
    finally:
        await study.aclose()
    regressions = {family: fits(rows) for family, rows in mixed.items()}
    for family, found in regressions.items():
        for form, fit in found.items():
            print(f"{family}: t on quality and diversity, {form}: {fit.line()}")
    if given.docs:
        from bench.zoo_study_page import write

        write(given.docs, given.questions, samples, mixed, regressions)
    print(
        json.dumps({family: {form: fit.line() for form, fit in found.items()} for family, found in regressions.items()})
    )


if __name__ == "__main__":
    asyncio.run(main())
