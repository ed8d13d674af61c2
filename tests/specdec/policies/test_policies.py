"""Each stop rule against its formula, and the contract every policy keeps."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import pytest

from specdec.errors import SpecDecError
from specdec.policies import NAMES, Signal, make
from specdec.policies.base import LIMIT
from specdec.policies.logistic import Logistic, logit, sigmoid
from specdec.policies.specdecpp import SpecDecPP

SURE = Signal(token_prob=0.99, max_prob=0.99, entropy=0.05, accept=0.99)
VAGUE = Signal(token_prob=0.05, max_prob=0.1, entropy=3.0, accept=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_answers_and_bounds_its_round(name: str) -> None:
    policy = make(name).for_row()
    assert 0 <= policy.limit(1) <= LIMIT
    assert policy.go_on([SURE], 1) in (True, False)
    policy.learn([SURE, VAGUE], 1)
    assert policy.needs <= {"probs", "entropy", "head"}


@pytest.mark.parametrize("name", ["specdec++", "confidence", "product", "svip", "adaedl", "logistic"])
def test_adaptive_policies_stop_on_a_vague_token_and_not_on_a_sure_one(name: str) -> None:
    policy = make(name)
    assert policy.go_on([SURE, SURE], 1)
    assert not policy.go_on([SURE, VAGUE], 1)


def test_policies_import_no_torch() -> None:
    names = ", ".join(repr(name) for name in NAMES)
    code = (
        f"import sys\nfrom specdec.policies import make\nfor n in [{names}]: make(n)\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fixed_goes_on_to_its_length_whatever_it_sees() -> None:
    assert make("fixed:7").limit(64) == 7
    assert make("fixed:7").go_on([VAGUE], 1)
    assert make("off").limit(1) == 0


def test_product_multiplies_over_the_round() -> None:
    # 0.7² = 0.49 ≥ 0.4 goes on; 0.7³ = 0.343 < 0.4 stops.
    signal, policy = Signal(token_prob=0.7), make("product:0.4")
    assert policy.go_on([signal] * 2, 1)
    assert not policy.go_on([signal] * 3, 1)


def test_confidence_reads_only_the_last_token() -> None:
    assert make("confidence:0.4").go_on([VAGUE, SURE], 1)


def test_svip_stops_where_the_entropy_bound_passes_its_threshold() -> None:
    # √(0.15·0.6) = 0.3 goes on; √(0.15·0.61) = 0.3025 > 0.3 stops.
    assert make("svip:0.3").go_on([Signal(entropy=0.5999)], 1)
    assert not make("svip:0.3").go_on([Signal(entropy=0.61)], 1)


def test_adaedl_drafts_less_after_rejections_and_more_after_acceptances() -> None:
    # One step of 0.01 from 0.4 each way: share 0 < 0.9 raises λ, share 1 > 0.9 lowers it.
    low, high = make("adaedl").for_row(), make("adaedl").for_row()
    low.learn([SURE] * 4, 4)
    high.learn([SURE] * 4, 0)
    # 1 − √(0.2·1.8) = 0.4: just at the start's threshold.
    edge = Signal(entropy=1.8)
    assert low.go_on([edge], 1)
    assert not high.go_on([edge], 1)


def test_heuristic_moves_as_hugging_faces() -> None:
    policy = make("heuristic:5").for_row()
    policy.learn([SURE] * 5, 5)
    assert policy.limit(1) == 7
    policy.learn([SURE] * 7, 2)
    assert policy.limit(1) == 6
    policy.learn([SURE] * 3, 3)  # cut short by the end of the text: says nothing
    assert policy.limit(1) == 6


def test_rows_do_not_share_what_the_heuristic_learnt() -> None:
    policy = make("heuristic:5")
    policy.for_row().learn([SURE] * 5, 5)
    assert policy.for_row().limit(1) == 5


def test_specdecpp_stops_when_the_predicted_rejection_exceeds_h() -> None:
    # 1 − 0.8² = 0.36 ≤ 0.4 goes on; 1 − 0.8³ = 0.488 > 0.4 stops.
    signal, policy = Signal(accept=0.8), make("specdec++:0.4")
    assert policy.go_on([signal] * 2, 1)
    assert not policy.go_on([signal] * 3, 1)


def test_specdecpp_keeps_its_bounds() -> None:
    policy = make("specdec++:0.4,minimum=3,maximum=6")
    assert policy.go_on([VAGUE] * 2, 1)
    assert not policy.go_on([VAGUE] * 3, 1)
    assert policy.limit(1) == 6


def test_specdecpp_changes_with_the_batch() -> None:
    policy = SpecDecPP(0.7, stages=((4, 0.3, 5), (16, 0.0, 0)))
    signal = Signal(accept=0.6)  # predicted rejection 0.4
    assert policy.go_on([signal], 3)
    assert not policy.go_on([signal], 4)
    assert [policy.limit(batch) for batch in (1, 4, 15, 16, 64)] == [LIMIT, 5, 5, 0, 0]


def test_logistic_learns_the_acceptance_it_observes() -> None:
    # Tokens of max q 0.9 stand 90 times in 100 and of 0.5 half the time: the law σ(logit(max q)), so w → 1, b → 0.
    policy = Logistic(every=10)
    for turn in range(4000):
        peak, chance = (0.9, 0.9) if turn % 2 else (0.5, 0.5)
        stands = (turn // 2 * 0.6180339887) % 1 < chance  # a low-discrepancy sequence in place of draws
        policy.learn([Signal(max_prob=peak)], int(stands))
    assert policy.chance(Signal(max_prob=0.9)) == pytest.approx(0.9, abs=0.03)
    assert policy.chance(Signal(max_prob=0.5)) == pytest.approx(0.5, abs=0.06)


def test_logistic_observes_nothing_after_the_first_rejection() -> None:
    one, other = Logistic(every=1), Logistic(every=1)
    one.learn([SURE, VAGUE, SURE, SURE], 1)
    other.learn([SURE, VAGUE], 1)
    assert (one.w, one.b) == (other.w, other.b)


def test_logit_and_sigmoid_survive_the_ends() -> None:
    assert math.isfinite(logit(1.0))
    assert math.isfinite(logit(0.0))
    assert sigmoid(-800.0) == 0.0
    assert sigmoid(800.0) == 1.0
    assert sigmoid(logit(0.3)) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nosuch", "known are off, fixed"),
        ("fixed:many", "must be a number"),
        ("fixed:2.5", "must be a number"),
        ("product:0.5,speed=3", "no setting 'speed'"),
        ("product:-1", "must be ≥ 0"),
        ("product:nan", "must be finite"),
        ("logistic:every=0", "must be ≥ 1"),
        ("off:3", "no setting"),
    ],
)
def test_a_wrong_policy_is_named_with_what_is_known(spec: str, words: str) -> None:
    with pytest.raises(SpecDecError, match=words):
        make(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("heuristic:0", "'heuristic': k must be ≥ 1; got 0"),
        ("confidence:40", "'confidence': threshold must lie in [0, 1]; got 40"),
        ("product:2", "'product': threshold must lie in [0, 1]; got 2"),
        ("logistic:2", "'logistic': threshold must lie in [0, 1]; got 2"),
        ("adaedl:memory=5", "'adaedl': memory must lie in [0, 1); got 5"),
        ("adaedl:aim=2", "'adaedl': aim must lie in [0, 1]; got 2"),
        ("specdec++:1.5", "'specdec++': threshold must lie in [0, 1]; got 1.5"),
        ("specdec++:0.5,minimum=9,maximum=3", "'specdec++': minimum must be ≤ maximum; got 9"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(spec: str, words: str) -> None:
    with pytest.raises(SpecDecError, match=re.escape(words)):
        make(spec)


def test_the_heuristic_never_drafts_more_than_its_maximum() -> None:
    rule = make("heuristic:30,maximum=8").for_row()
    assert rule.limit(1) == 8
    rule.learn([Signal()] * 8, 8)
    assert rule.limit(1) == 8
    rule.learn([Signal()] * 8, 3)
    assert rule.limit(1) == 7
