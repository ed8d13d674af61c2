"""The bench counts what it should, its bounds agree with closed forms, and its report holds every figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from specdec.bench import Plan, _paid, bench
from specdec.bounds import bounds, oracle
from specdec.costs import Measured
from specdec.dataset import Text
from specdec.decoder import Generation, SpecDecoder
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.models import LanguageModel, Loaded, feed
from specdec.paired import Interval
from specdec.params import Sampling
from specdec.report import as_json, markdown, pareto
from specdec.stopping import Stopping
from specdec.threshold import Costs
from specdec.watched import Watched
from tests.specdec.tiny import TableModel

PROMPTS = [[1, 2], [3], [4, 5, 6]]
PLAN = Plan(temperatures=(0.0, 1.0), repeats=2, tokens=15, systems=("off", "fixed:2", "product"))


def pair(draft: int = 2, head: bool = True) -> SpecDecoder:
    models = [Loaded(TableModel(seed, vocab=8, context=256), None, None, frozenset()) for seed in (1, draft)]
    return SpecDecoder(
        models[0], models[1], head=AcceptanceHead(HeadConfig(4, 1, stopping=Stopping(0.5))).eval() if head else None
    )


def test_every_system_decodes_every_token_at_every_temperature() -> None:
    outcomes = bench(pair(), PROMPTS, PLAN)
    assert [outcome.temperature for outcome in outcomes] == [0.0, 1.0]
    for outcome in outcomes:
        lines = {line.system: line for line in outcome.lines}
        assert set(lines) == {"off", "fixed:2", "product", "specdec++"}
        assert all(line.tokens == 2 * 45 for line in outcome.lines)
        assert (lines["off"].V, lines["off"].D, lines["off"].predicted) == (1.0, 0.0, Interval(1.0, 1.0, 1.0))
        assert lines["off"].whole.median == pytest.approx(1.0)
        assert lines["off"].speedup is not None
        assert lines["off"].speedup.median == pytest.approx(1.0)
        assert all(line.V is not None and 0 < line.V <= 1 for line in outcome.lines)
        learnt = lines["specdec++"].predicted
        assert learnt is not None
        for line in outcome.lines:
            assert line.predicted is not None
            assert line.counted_ahead is not None
            # Every repetition writes the same texts, so that the ratio of medians is the median of ratios.
            assert line.counted_ahead.median == pytest.approx(learnt.median / line.predicted.median)


def test_a_draft_that_is_the_target_discards_nothing() -> None:
    outcome = bench(pair(draft=1, head=False), PROMPTS, PLAN)[0]
    fixed = next(line for line in outcome.lines if line.system == "fixed:2")
    # 15 tokens a prompt in rounds of 2 + 1: five passes.
    assert fixed.D == 0
    assert pytest.approx(5 / 15) == fixed.V
    assert outcome.bounds.rejection == pytest.approx(0.0, abs=1e-6)


def test_foreign_systems_are_timed_and_not_counted() -> None:
    class Echo:
        reading = None

        def generate(self, prompts: Sequence[list[int]], samplings: Sequence[Sampling], /) -> list[Generation]:
            return [Generation(len(p), (1,) * 5, "", "length", None, 0, 0, 0) for p in prompts]

    outcome = bench(pair(head=False), PROMPTS, PLAN, {"echo": Echo()})[0]
    line = next(line for line in outcome.lines if line.system == "echo")
    assert (line.tokens, line.V, line.D, line.predicted) == (2 * 15, None, None, None)
    # It does not tell when its target read prompts, so that of decoding alone nothing is known.
    assert (line.speedup, line.of_oracle) == (None, None)
    assert line.whole.median > 0


def test_the_oracle_is_one_verification_per_rejection() -> None:
    # v = .2, c = .2: 1/(.2 + .2·.8) = 2.78 (iid α = .8).
    assert oracle(0.2, Costs(0.2)) == pytest.approx(1 / 0.36)
    assert oracle(0.9, Costs(2.0)) == 1.0


def test_the_informed_bound_lies_between_plain_decoding_and_the_oracle() -> None:
    model = pair(head=False)
    results = SpecDecoder(model.target).generate(PROMPTS, Sampling(max_tokens=60, seed=0))
    texts = [Text((*p, *r.tokens), len(p), Sampling()) for p, r in zip(PROMPTS, results, strict=True)]
    limits = bounds(model, texts, Costs(0.1))
    assert 1.0 <= limits.informed <= limits.oracle * 1.05
    assert 0 < limits.rejection < 1


def test_the_report_names_every_system_and_the_bounds(tmp_path: Path) -> None:
    outcomes = bench(pair(), PROMPTS, PLAN)
    text = markdown(outcomes)
    assert text.count("### Temperature") == 2
    assert all(f"| {name} |" in text for name in ("off", "fixed:2", "product", "specdec++"))
    assert "oracle" in text
    assert "informed" in text
    assert text.count("Beside the best fixed K") == 2
    assert "Beside the best fixed K" not in markdown(bench(pair(head=False), PROMPTS, PLAN))
    figures = json.loads(json.dumps(as_json(outcomes)))
    assert figures["outcomes"][0]["lines"][0]["speedup"]["median"] > 0


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot is optional")
    file = tmp_path / "pareto.png"
    pareto(bench(pair(), PROMPTS, PLAN), file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_benching_leaves_the_global_generator_alone() -> None:
    model = pair()
    state = torch.random.get_rng_state()
    bench(model, PROMPTS, PLAN)
    assert torch.equal(state, torch.random.get_rng_state())


class Bursty(TableModel):
    """Agrees with the table of the same seed after an even token, and after an odd one is often wrong."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        exact = super().logits(hidden)
        odd = hidden[:, :1].abs() * 1e3 % 2 > 1
        return torch.where(odd, -exact, exact)


def test_the_rejection_rate_is_that_along_the_targets_own_text() -> None:
    models = [Loaded(kind(1, vocab=8, context=256), None, None, frozenset()) for kind in (TableModel, Bursty)]
    model = SpecDecoder(models[0], models[1], "fixed:2")
    prompts = [[i % 8, i // 8] for i in range(40)]
    results = SpecDecoder(model.target).generate(prompts, Sampling(max_tokens=100, temperature=0))
    texts = [Text((*p, *r.tokens), len(p), Sampling(temperature=0)) for p, r in zip(prompts, results, strict=True)]
    wrong = total = 0
    for text in texts:
        lines = [_best(loaded.model, text)[text.prompt - 1 : -1] for loaded in models]
        wrong += int((lines[0] != lines[1]).sum())
        total += len(lines[0])
    assert 0.2 < wrong / total < 0.8
    # Counted exactly, but for the last places of a text, to which no whole roll-out belongs.
    assert bounds(model, texts, Costs(0.1)).rejection == pytest.approx(wrong / total, abs=0.03)


def _best(model: LanguageModel, text: Text) -> torch.Tensor:
    cache = model.new_cache()
    return model.logits(feed(model, cache, [cache.add_row()], [list(text.tokens)])).argmax(-1)


def test_a_system_pays_for_what_it_reads() -> None:
    model = pair()
    assert model.head is not None
    # Beyond its temperatures the head is not asked: `logistic` reads q alone.
    narrow = AcceptanceHead(HeadConfig(4, 1, stopping=Stopping(0.5), high=0.5)).eval()
    kinds = Measured(1e-3, Costs(0.3), Costs(0.2), Costs(0.25), Costs(0.1), 0.0)
    given: dict[str, AcceptanceHead | None] = {"fixed:2": None, "heuristic": None, "svip": None, "specdec++": narrow}
    for name, head in given.items():
        system = Watched(model.target, model.draft, name, head=head)
        cold, hot = (_paid(system, kinds, heat) for heat in (0.0, 1.0))
        expected = {"fixed:2": (0.1, 0.1), "heuristic": (0.1, 0.1), "svip": (0.25, 0.25), "specdec++": (0.3, 0.2)}[name]
        assert (cold.draft, hot.draft) == expected
