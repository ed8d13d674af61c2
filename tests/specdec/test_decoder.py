"""SpecDecoder: the same text as plain decoding, every way a text can end, and one clear line for every wrong input."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from specdec import Sampling, SpecDecError, SpecDecoder
from specdec.head import AcceptanceHead
from specdec.head_config import HeadConfig
from specdec.models import Loaded
from specdec.policies import NAMES
from specdec.policies.specdecpp import SpecDecPP
from specdec.spans import Span
from specdec.stopping import Stopping
from tests.specdec.tiny import TableModel

LETTERS = "abcdefgh"
PROMPTS: list[list[int]] = [[1], [2, 5, 7, 0], [3, 3], [1, 2, 3, 4, 5, 6, 7], [0, 4], [6]]


class Letters:
    """A tokenizer of one letter a token."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [LETTERS.index(letter) for letter in text]

    def decode(self, tokens: Sequence[int], skip_special_tokens: bool = True) -> str:
        return "".join(LETTERS[token] for token in tokens)

    def get_vocab(self) -> dict[str, int]:
        return {letter: i for i, letter in enumerate(LETTERS)}


def model(seed: int = 1, *, eos: int | None = None, context: int = 64, bos: int | None = None) -> Loaded:
    table = TableModel(seed, vocab=8, context=context)
    return Loaded(table, Letters(), bos, frozenset() if eos is None else frozenset({eos}))


def head(width: int = 4, **config: Any) -> AcceptanceHead:
    torch.manual_seed(0)
    return AcceptanceHead(HeadConfig(width, depth=1, **config)).eval()


def decoder(policy: str, target: Loaded | None = None, draft: Loaded | None = None) -> SpecDecoder:
    used = head() if policy.startswith("specdec++") else None
    return SpecDecoder(target or model(), draft or model(2), policy, head=used)


def plain(target: Loaded | None = None) -> SpecDecoder:
    return SpecDecoder(target or model())


@pytest.mark.parametrize("policy", NAMES)
def test_greedy_text_is_that_of_plain_decoding_in_a_ragged_batch(policy: str) -> None:
    sampling = Sampling(temperature=0, max_tokens=20)
    expected = [result.tokens for result in plain().generate(PROMPTS, sampling)]
    assert [result.tokens for result in decoder(policy).generate(PROMPTS, sampling)] == expected


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_rows_stay_greedy_beside_sampled_ones(penalty: float) -> None:
    cold = Sampling(temperature=0, max_tokens=12, repetition_penalty=penalty)
    hot = Sampling(temperature=1.2, max_tokens=15, seed=1)
    mixed = [cold, hot, cold, hot, hot, cold]
    expected = plain().generate(PROMPTS, cold)
    found = decoder("product:0.1").generate(PROMPTS, mixed)
    assert [found[i].tokens for i in (0, 2, 5)] == [expected[i].tokens for i in (0, 2, 5)]


def test_draws_do_not_depend_on_who_else_is_in_the_batch() -> None:
    sampling = Sampling(temperature=1.1, top_p=0.9, max_tokens=20)
    seeds = [Sampling(temperature=1.1, top_p=0.9, max_tokens=20, seed=i) for i in range(6)]
    together = decoder("product:0.2").generate(PROMPTS, seeds)
    alone = [decoder("product:0.2").generate([prompt], one)[0] for prompt, one in zip(PROMPTS, seeds, strict=True)]
    assert [result.tokens for result in together] == [result.tokens for result in alone]
    unseeded = decoder("product:0.2").generate([[1]] * 4, sampling)
    assert len({result.tokens for result in unseeded}) > 1


def test_samples_of_one_prompt_differ_and_repeat_with_the_seed() -> None:
    sampling = Sampling(max_tokens=12, seed=4)
    first, again = (decoder("fixed:3").generate([[1]] * 5, sampling) for _ in range(2))
    assert [result.tokens for result in first] == [result.tokens for result in again]
    assert len({result.tokens for result in first}) == 5


def test_more_prompts_than_the_batch_holds_are_all_answered_in_order() -> None:
    sampling = Sampling(temperature=0, max_tokens=9)
    narrow = SpecDecoder(model(), model(2), "fixed:2", batch=2)
    assert narrow.generate(PROMPTS * 3, sampling) == decoder("fixed:2").generate(PROMPTS * 3, sampling)


def test_every_token_is_accounted_for() -> None:
    result = decoder("fixed:3").generate([[1, 2]], Sampling(max_tokens=30, seed=2))[0]
    assert len(result.tokens) == result.accepted + result.passes == 30
    assert result.drafted >= result.accepted > 0
    assert result.prompt_tokens == 2


def test_nothing_follows_an_end_of_text_inside_a_draft() -> None:
    # Draft = target, so whole drafts are accepted; the end token is one that plain decoding meets.
    free = plain(model()).generate([[1]], Sampling(temperature=0, max_tokens=20))[0].tokens
    eos = free[3]
    ended = decoder("fixed:8", model(eos=eos), model()).generate([[1]], Sampling(temperature=0, max_tokens=20))[0]
    assert ended.tokens == free[: free.index(eos) + 1]
    assert ended.finish == "stop"
    assert ended.drafted <= free.index(eos) + 1


@pytest.mark.parametrize("count", range(1, 9))
def test_max_tokens_inside_a_draft_is_kept(count: int) -> None:
    result = decoder("fixed:6", model(), model()).generate([[1]], Sampling(temperature=0, max_tokens=count))[0]
    assert len(result.tokens) == count
    assert result.finish == "length"


def test_text_ends_before_a_stop_string_that_crosses_drafts() -> None:
    free = plain().generate([[1]], Sampling(temperature=0, max_tokens=20))[0].text
    for start in range(1, 8):
        stop = free[start : start + 3]
        sampling = Sampling(temperature=0, max_tokens=20, stop=("zzz", stop))
        result = decoder("fixed:2", model(), model()).generate([[1]], sampling)[0]
        assert result.text == free[: free.index(stop)]
        assert result.finish == "stop"
        assert len(result.tokens) == free.index(stop) + 3


def test_the_stream_adds_up_to_the_whole_and_never_shows_part_of_a_stop_string() -> None:
    free = plain().generate([[1]], Sampling(temperature=0, max_tokens=20))[0].text
    sampling = Sampling(temperature=0, max_tokens=20, stop=(free[6:9],))
    whole = decoder("fixed:3").generate(PROMPTS, sampling)
    shown: list[str] = [""] * len(PROMPTS)
    tokens: list[list[int]] = [[] for _ in PROMPTS]
    for delta in decoder("fixed:3").stream(PROMPTS, sampling):
        shown[delta.index] += delta.text
        tokens[delta.index] += delta.tokens
        if delta.done:
            assert delta.done == whole[delta.index]
    assert shown == [result.text for result in whole]
    assert tokens == [list(result.tokens) for result in whole]


@pytest.mark.parametrize("draft_context", [5, 8, 10, 64])
def test_the_context_is_filled_and_never_passed(draft_context: int) -> None:
    target = model(context=10)
    expected = plain(target).generate([[1, 2, 3]], Sampling(temperature=0))[0]
    found = decoder("fixed:6", target, model(2, context=draft_context)).generate([[1, 2, 3]], Sampling(temperature=0))[
        0
    ]
    assert found.tokens == expected.tokens
    assert len(found.tokens) == 7
    assert found.finish == "length"


def test_logprobs_are_the_unwarped_targets_and_agree_with_score() -> None:
    sampling = Sampling(temperature=0.5, top_k=3, max_tokens=11, seed=0, logprobs=True)
    result = decoder("fixed:3").generate([[1, 2]], sampling)[0]
    assert result.logprobs is not None
    assert list(result.logprobs) == pytest.approx(plain().score([1, 2], result.tokens), abs=1e-12)
    assert decoder("fixed:3").generate([[1]], Sampling(max_tokens=2))[0].logprobs is None


def test_logprobs_end_where_the_text_ends() -> None:
    free = plain().generate([[1]], Sampling(temperature=0, max_tokens=9))[0].tokens
    target = model(eos=free[4])
    result = decoder("fixed:8", target, model()).generate([[1]], Sampling(temperature=0, max_tokens=9, logprobs=True))[
        0
    ]
    assert result.logprobs is not None
    assert len(result.logprobs) == len(result.tokens)


def test_score_of_nothing_is_empty() -> None:
    assert plain().score("ab", "") == []


class Counting(TableModel):
    """Counts the positions it is asked to compute."""

    fed = 0

    def hidden(self, ids: Tensor, span: Span) -> Tensor:
        self.fed += ids.numel()
        return super().hidden(ids, span)


def counting(seed: int) -> tuple[Counting, Loaded]:
    table = Counting(seed, vocab=8)
    return table, Loaded(table, None, None, frozenset())


def test_the_prompt_of_many_samples_is_prefilled_once() -> None:
    table, target = counting(1)
    small, draft = counting(2)
    prompt = [1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]
    SpecDecoder(target, draft, "fixed:2").generate([prompt] * 8, Sampling(temperature=0, max_tokens=1))
    # 10 prompt tokens once, then the last of each of 8 rows; max_tokens 1 leaves nothing to draft.
    assert table.fed == 10 + 8
    assert small.fed == 0


def test_rejected_tokens_cost_no_second_reading_of_what_stands() -> None:
    table, target = counting(1)
    small, draft = counting(2)
    result = SpecDecoder(target, draft, "fixed:3").generate([[1, 2, 3]], Sampling(max_tokens=40, seed=1))[0]
    assert result.accepted < result.drafted
    assert table.fed == 2 + result.passes + result.drafted
    # The draft reads the prompt and each text token at most once, and each rejected token it went on from at most once.
    assert small.fed <= 2 + 41 + (result.drafted - result.accepted)


def test_a_plain_step_leaves_the_draft_idle_and_it_catches_up_later() -> None:
    sampling = Sampling(temperature=0, max_tokens=20)
    expected = [result.tokens for result in plain().generate(PROMPTS, sampling)]

    class NowAndThen:
        needs: frozenset[str] = frozenset()
        turn = 0

        def limit(self, batch: int) -> int:
            self.turn += 1
            return 3 if self.turn % 3 == 0 else 0

        def go_on(self, trail: object, batch: int) -> bool:
            return True

        def learn(self, trail: object, accepted: int) -> None: ...

        def for_row(self) -> NowAndThen:
            return NowAndThen()

    fickle = SpecDecoder(model(), model(2), NowAndThen())  # type: ignore[arg-type]
    assert [result.tokens for result in fickle.generate(PROMPTS, sampling)] == expected


def test_an_empty_prompt_starts_from_the_beginning_of_text() -> None:
    sampling = Sampling(temperature=0, max_tokens=5)
    assert plain(model(bos=3)).generate([""], sampling)[0].tokens == plain().generate([[3]], sampling)[0].tokens


def test_no_prompts_give_no_texts() -> None:
    assert decoder("fixed:2").generate([]) == []


class Damaged(TableModel):
    """Gives NaN after the third token."""

    def logits(self, hidden: Tensor) -> Tensor:
        lines = super().logits(hidden)
        lines[..., 2] = torch.nan
        return lines


DAMAGED = Loaded(Damaged(1, vocab=8), Letters(), None, frozenset())
OTHER_NAMES = Loaded(TableModel(2, vocab=8), Letters(), None, frozenset())
OTHER_SIZE = Loaded(TableModel(2, vocab=9), None, None, frozenset())


@pytest.mark.parametrize("prompts", [[[1]], [[1], [2, 3]]], ids=["alone", "together"])
@pytest.mark.parametrize("policy", ["fixed:2", "product:0.3", "svip:0.4"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(("pair", "name"), [((DAMAGED, model(2)), "target"), ((model(1), DAMAGED), "draft")])
def test_nan_logits_stop_with_the_name_of_the_model(
    pair: tuple[Loaded, Loaded], name: str, temperature: float, policy: str, prompts: list[list[int]]
) -> None:
    with pytest.raises(SpecDecError, match=f"the {name} table1 model's logits hold nan"):
        SpecDecoder(*pair, policy).generate(prompts, Sampling(temperature=temperature, max_tokens=4))


def test_a_draft_of_another_vocabulary_is_refused() -> None:
    with pytest.raises(SpecDecError, match="has 8 tokens and draft table2 9: both need one vocabulary"):
        SpecDecoder(model(), OTHER_SIZE)


def test_a_draft_that_names_its_tokens_differently_is_refused() -> None:
    class Shifted(Letters):
        def get_vocab(self) -> dict[str, int]:
            return {letter: 7 - i for i, letter in enumerate(LETTERS)}

    with pytest.raises(SpecDecError, match="name their tokens differently"):
        SpecDecoder(model(), Loaded(TableModel(2, vocab=8), Shifted(), None, frozenset()))


@pytest.mark.parametrize(
    ("prompts", "sampling", "words"),
    [
        ([""], Sampling(), "empty prompt.*give at least one token"),
        ([[1] * 64], Sampling(), "prompt of 64 tokens leaves no room in the context of 64"),
        ([[1] * 99], Sampling(), "prompt of 99 tokens leaves no room"),
        ([[1, 8]], Sampling(), "prompt holds token 8; table1 has tokens 0…7"),
        ("abc", Sampling(), "put the single prompt in a list"),
        ([[1]], [Sampling(), Sampling()], "1 prompts but 2 sampling settings"),
    ],
)
def test_wrong_prompts_are_refused_in_one_line(prompts: object, sampling: object, words: str) -> None:
    with pytest.raises(SpecDecError, match=words) as caught:
        decoder("fixed:2").generate(prompts, sampling)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_model_without_tokenizer_says_what_it_can_take() -> None:
    bare = SpecDecoder(Loaded(TableModel(1, vocab=8), None, None, frozenset()))
    assert bare.generate([[1]], Sampling(max_tokens=2))[0].text == ""
    for prompt, sampling in (("ab", Sampling()), ([1], Sampling(stop=("a",)))):
        with pytest.raises(SpecDecError, match="no tokenizer: give prompts as token ids, and no stop strings"):
            bare.generate([prompt], sampling)
    assert sum(len(delta.tokens) for delta in bare.stream([[1]], Sampling(max_tokens=4))) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"draft": model(2), "policy": "specdec++"}, "needs an acceptance head"),
        ({"policy": "fixed:3"}, "pass draft=FOLDER"),
        ({"head": head()}, "a head without a draft"),
        ({"draft": model(2), "head": head(width=5)}, "hidden state of 5 and draft table2 has 4"),
        ({"draft": model(2), "head": "/nowhere/head"}, "no acceptance head at /nowhere/head"),
        ({"draft": "/nowhere/draft"}, "no model at /nowhere/draft"),
        ({"draft": model(2), "policy": "magic"}, "unknown stop policy 'magic'; known are"),
        ({"batch": 0}, "batch must be ≥ 1; got 0"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(SpecDecError, match=words) as caught:
        SpecDecoder(model(), **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_temperature_the_head_was_not_trained_for_falls_back_to_a_rule_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair = SpecDecoder(model(), model(2), head=head(low=0.5, high=1.0))
    with caplog.at_level(logging.WARNING):
        inside = pair.generate([[1]], Sampling(temperature=0.7, max_tokens=3))[0]
        assert inside.note == ""
        assert not caplog.records
        outside = pair.generate([[1]], Sampling(temperature=0, max_tokens=8))[0]
    assert "trained for temperatures 0.5…1.0, not 0" in outside.note
    assert outside.note in caplog.text
    assert outside.tokens == plain().generate([[1]], Sampling(temperature=0, max_tokens=8))[0].tokens


def test_a_head_brings_its_own_threshold() -> None:
    pair = SpecDecoder(model(), model(2), head=head(stopping=Stopping(0.0)))
    # h = 0: any predicted rejection stops, so exactly one token a round is drafted.
    result = pair.generate([[1]], Sampling(max_tokens=20, seed=1))[0]
    assert result.drafted in (result.passes, result.passes - 1)


def test_a_head_may_be_tuned_otherwise_at_temperature_0() -> None:
    # Without drafts there, one token a round above it.
    tuned = head(stopping=Stopping(0.0), cold=Stopping(0.5, stages=((1, 0.5, 0),)))
    pair = SpecDecoder(model(), model(2), head=tuned)
    cold, warm = pair.generate([[1], [1]], [Sampling(temperature=heat, max_tokens=20, seed=1) for heat in (0, 1)])
    assert cold.drafted == 0
    assert warm.drafted in (warm.passes, warm.passes - 1)
    named = SpecDecoder(model(), model(2), "product", head=tuned)
    assert named.generate([[1]], Sampling(temperature=0, max_tokens=20))[0].drafted > 0


def test_importing_the_package_imports_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, specdec; sys.exit('torch' in sys.modules or 'archon' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_rule_in_the_heads_place_drafts_no_more_than_was_tuned_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tuned = head(low=0.5, high=1.0, stopping=Stopping(0.5, stages=((1, 0.5, 2), (2, 0.5, 0))))
    pair = SpecDecoder(model(), model(2), head=tuned)
    with caplog.at_level(logging.WARNING):
        alone = pair.generate([[1]], Sampling(temperature=1.5, max_tokens=30, seed=0))[0]
        together = pair.generate([[1], [2]], Sampling(temperature=1.5, max_tokens=30, seed=0))
    assert 0 < alone.drafted <= 2 * alone.passes
    # The second row ends with the first, so both always decode in company.
    assert sum(result.drafted for result in together) == 0
    assert len(caplog.records) == 1
    assert "drafting by logistic" in caplog.text


def test_the_coldest_temperature_is_greedy_decoding() -> None:
    cold = [plain().generate(PROMPTS, Sampling(temperature=heat, max_tokens=12, seed=0)) for heat in (1e-39, 0)]
    assert [result.tokens for result in cold[0]] == [result.tokens for result in cold[1]]


@pytest.mark.parametrize("policy", ["off", "fixed:3"])
def test_a_row_may_be_taken_out_before_it_is_finished(policy: str) -> None:
    pair = decoder(policy)
    rows = [pair.row(i, prompt, Sampling(temperature=0, max_tokens=12)) for i, prompt in enumerate(PROMPTS)]
    batch = pair.batch()
    batch.add(rows)
    batch.step()
    batch.drop(rows[1])
    while batch.rows:
        batch.step()
    expected = plain().generate(PROMPTS, Sampling(temperature=0, max_tokens=12))
    kept = [i for i in range(len(PROMPTS)) if i != 1]
    assert [tuple(rows[i].output) for i in kept] == [expected[i].tokens for i in kept]
    assert rows[1].finish is None


def test_drafted_tokens_behind_a_stop_string_did_not_stand() -> None:
    whole = plain().generate(["ab"], Sampling(temperature=0, max_tokens=12))[0]
    same = SpecDecoder(model(), model(), "fixed:8")
    cut = same.generate(["ab"], Sampling(temperature=0, max_tokens=12, stop=(whole.text[1:3],)))[0]
    assert cut.accepted <= len(cut.tokens)


def test_a_text_with_tokens_the_model_does_not_have_is_refused() -> None:
    short = Loaded(TableModel(1, vocab=4), Letters(), None, frozenset())
    with pytest.raises(SpecDecError, match="prompt holds token 7; table1 has tokens 0…3"):
        SpecDecoder(short).generate(["ah"])


def test_scores_of_a_long_text_do_not_depend_on_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plain().score([1, 2, 3], [4, 5, 6, 7, 0])
    monkeypatch.setattr("specdec.decoder._PIECE", 2)
    assert plain().score([1, 2, 3], [4, 5, 6, 7, 0]) == pytest.approx(whole, abs=1e-12)


def test_the_room_of_one_call_is_kept_for_the_next_unless_it_was_left_early() -> None:
    pair, sampling = decoder("fixed:2"), Sampling(temperature=0, max_tokens=6)
    first = pair.generate([[1], [2]], sampling)
    (kept,) = pair._spare
    assert kept.rows == []
    assert pair.generate([[1], [2]], sampling) == first
    assert pair._spare == [kept]
    streaming = pair.stream([[1], [2]], sampling)
    next(streaming)
    streaming.close()  # type: ignore[attr-defined]
    assert pair._spare == []
    assert pair.generate([[1], [2]], sampling) == first


@pytest.mark.parametrize("depth", [0, 1])
def test_a_head_reads_its_draft_whatever_the_targets_dtype(depth: int) -> None:
    models = [
        Loaded(TableModel(seed, vocab=8, dtype=dtype), None, None, frozenset())
        for seed, dtype in ((1, torch.float64), (2, torch.float32))
    ]
    head = AcceptanceHead(HeadConfig(models[1].model.width, depth, stopping=Stopping(0.9))).eval()
    (found,) = SpecDecoder(*models, head=head).generate([[1, 2]], Sampling(temperature=0, max_tokens=8))
    assert (len(found.tokens), found.drafted > 0) == (8, True)


def test_no_settings_for_some_prompts_are_a_wrong_count() -> None:
    with pytest.raises(SpecDecError, match="2 prompts but 0 sampling settings"):
        plain().generate([[1], [2]], [])


def test_a_text_that_fills_the_context_can_be_scored() -> None:
    target = model(context=8)
    assert len(SpecDecoder(target).score([1, 2, 3], [1, 2, 3, 4, 5, 6])) == 6
    with pytest.raises(SpecDecError, match="context of 8"):
        SpecDecoder(target).score([1, 2, 3], [1, 2, 3, 4, 5, 6, 7])


def test_the_largest_seed_is_good_for_several_prompts() -> None:
    sampling = Sampling(max_tokens=5, seed=2**64 - 1)
    first, second = plain().generate([[1], [1]], sampling)
    assert second.tokens == plain().generate([[1]], Sampling(max_tokens=5, seed=0))[0].tokens
    assert first.tokens == plain().generate([[1]], sampling)[0].tokens


def test_a_policy_without_a_name_is_unknown() -> None:
    with pytest.raises(SpecDecError, match="unknown stop policy ''"):
        SpecDecoder(model(), model(2), "")


def test_a_stand_in_for_the_head_must_not_ask_it() -> None:
    with pytest.raises(SpecDecError, match="name a simple rule"):
        SpecDecoder(model(), model(2), head=head(), fallback="specdec++")


def test_with_lengths_tuned_by_the_number_of_rows_a_seed_fixes_the_law_and_not_the_text() -> None:
    tuned = head(stopping=Stopping(0.9, stages=((1, 0.9, 8), (2, 0.9, 0))))
    pair = SpecDecoder(model(), model(2), head=tuned)
    samplings = [Sampling(max_tokens=12, seed=i) for i in range(12)]
    alone = [pair.generate([[1]], sampling)[0].tokens for sampling in samplings]
    together = [result.tokens for result in pair.generate([[1]] * 12, samplings)]
    assert alone != together
    # What no round's length can change, it does not.
    cold = [replace(sampling, temperature=0) for sampling in samplings]
    assert [pair.generate([[1]], one)[0].tokens for one in cold] == [r.tokens for r in pair.generate([[1]] * 12, cold)]


def test_a_row_that_began_without_drafts_goes_on_without_until_it_is_alone() -> None:
    # Nothing is drafted among three rows, up to four tokens among fewer.
    pair = SpecDecoder(model(), model(2), SpecDecPP(1.0, stages=((1, 1.0, 4), (3, 1.0, 0))), head=head())
    lengths = (4, 12, 30)
    batch = pair.batch()
    rows = [pair.row(i, [1], Sampling(max_tokens=n, temperature=0)) for i, n in enumerate(lengths)]
    batch.add(rows)
    while len(batch.rows) > 1:
        batch.step()
    assert [row.drafted for row in rows] == [0, 0, 0]
    newcomer = pair.row(3, [2], Sampling(max_tokens=6, temperature=0))
    batch.add([newcomer])
    batch.step()
    assert newcomer.drafted > 0
    assert rows[2].drafted == 0
    while batch.rows:
        batch.step()
    assert rows[2].drafted > 0
