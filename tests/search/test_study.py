"""The search as a whole: reproducible, resumable, within its budget, honest in what it reports."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from archon import Archon
from archon.clients.store import CacheStore
from archon.errors import ConfigError, RetryableError, RunError, UnknownNameError
from archon.executor import run
from archon.protocols import Context, Scorer
from archon.search import Progress, SearchResult, SearchSettings, dry_run, search
from archon.search.store import LOG, Study
from archon.search.verdict import verdict
from archon.types import Completion, Question, Request, Score, user
from tests.search import driver
from tests.search.fakes import MODELS, SKILLS, added, rows, settings, space, sums
from tests.servers import Body, CountingServer


def searched(given: SearchSettings) -> SearchResult:
    return asyncio.run(search(given))


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LOG).read_text(encoding="utf-8").splitlines()]


def trials(out: Path) -> list[str]:
    return [row["hash"] for row in log(out) if row.get("phase") == "search"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SearchResult]:
    """One finished search, to look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        out = tmp_path_factory.mktemp("study")
        return out, searched(settings(out))


def test_one_seed_gives_one_winner_in_two_folders_under_any_concurrency(tmp_path: Path) -> None:
    first = searched(settings(tmp_path / "a", concurrency=1))
    second = searched(settings(tmp_path / "b", concurrency=50))
    assert first.summary == second.summary
    assert trials(tmp_path / "a") == trials(tmp_path / "b")
    assert len(trials(tmp_path / "a")) == 8


def test_another_process_with_another_hash_seed_finds_the_same_winner(tmp_path: Path) -> None:
    here = searched(settings(tmp_path / "a"))
    code = (
        "import asyncio, pathlib, sys; from archon.search import search; from tests.search.fakes import settings; "
        "print(asyncio.run(search(settings(pathlib.Path(sys.argv[1])))).summary['winner']['hash'])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", code, str(tmp_path / "b")]
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert there.stdout.split()[-1] == here.summary["winner"]["hash"]


def answer(body: Body) -> str:
    """What the fakes say, by the model's name and the draw's seed."""
    from archon.types import Message, Sampling

    messages = tuple(Message.from_dict(each) for each in body["messages"])
    request = Request(messages, Sampling(temperature=body.get("temperature")), sample=body["seed"] % 1000)
    return added(request, body["model"], SKILLS[body["model"]])


def test_three_kills_lose_nothing_but_the_calls_in_flight(tmp_path: Path) -> None:
    with CountingServer(answer, latency=0.002) as server:
        # One endpoint, so one space, for the searches that are killed and for the one that is not.
        whole = driver.main(str(tmp_path / "whole"), server.endpoint, resume=False)
        calls = server.total
        server.bodies.clear()
        server.counts.clear()
        rng = Random(11)
        for moment in sorted(rng.randrange(calls // 10, calls) for _ in range(3)):
            _kill_at(server, moment, tmp_path / "killed")
        resumed = driver.main(str(tmp_path / "killed"), server.endpoint, resume=True)
        assert resumed == whole
        assert trials(tmp_path / "killed") == trials(tmp_path / "whole")
        again = sum(count - 1 for count in server.counts.values())
        assert again <= 3 * driver.CONCURRENCY * 10  # at most ten calls a question are under way at once
        assert set(server.counts.values()) <= {1, 2, 3, 4}
        assert server.total - again == calls


def _kill_at(server: CountingServer, total: int, out: Path) -> None:
    """Starts the search and kills it when so many requests have arrived; it may have ended before."""
    command = [sys.executable, "-m", "tests.search.driver", str(out), server.endpoint]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while server.total < total and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        assert b"Error" not in process.stderr.read()


def test_a_finished_search_resumes_without_a_call(tmp_path: Path) -> None:
    first = searched(settings(tmp_path))
    size = (tmp_path / LOG).stat().st_size
    seen: list[Progress] = []
    again = asyncio.run(search(settings(tmp_path, resume=True), seen.append))
    assert again.summary == first.summary
    assert (tmp_path / LOG).stat().st_size == size
    assert {each.calls for each in seen} == {0}


def test_a_log_cut_anywhere_is_completed_to_the_same_end(tmp_path: Path) -> None:
    whole = searched(settings(tmp_path / "whole"))
    text = (tmp_path / "whole" / LOG).read_bytes()
    for number, share in enumerate((0.01, 0.3, 0.55, 0.8)):
        out = tmp_path / str(number)
        out.mkdir()
        (out / LOG).write_bytes(text[: int(share * len(text))])
        resumed = searched(settings(out, resume=True))
        for name in ("winner", "best_single", "equal_cost_vote", "difference", "verdict", "trials"):
            assert resumed.summary[name] == whole.summary[name]


def test_a_study_is_not_overwritten_nor_resumed_under_other_settings(tmp_path: Path) -> None:
    searched(settings(tmp_path))
    with pytest.raises(ConfigError, match="--resume"):
        searched(settings(tmp_path))
    for changed in (
        {"seed": 4},
        {"sampler": "random"},
        {"benchmark": sums(25)},
        {"deadline": 9.0},
        {"trials": 9},
        {"max_calls": 5},
        {"finalists": 3},
    ):
        with pytest.raises(ConfigError, match=f"cannot resume.*{next(iter(changed))}"):
            searched(settings(tmp_path, resume=True, **changed))
    with pytest.raises(ConfigError, match="models"):
        searched(settings(tmp_path, resume=True, space=space(models=rows(price={"prompt": 3, "completion": 4}))))


def cut(out: Path, first: str) -> None:
    """Takes back everything from the first line that holds `first`."""
    text = (out / LOG).read_text(encoding="utf-8").splitlines(keepends=True)
    end = next(index for index, line in enumerate(text) if first in line)
    (out / LOG).write_text("".join(text[:end]), encoding="utf-8")


def test_trials_may_be_raised_on_resume_until_the_winner_is_being_confirmed(tmp_path: Path) -> None:
    few = {"benchmark": sums(8, 8, 8)}
    searched(settings(tmp_path / "grown", trials=3, **few))
    cut(tmp_path / "grown", '"split":"selection"')
    with pytest.raises(ConfigError, match="2 trials: 3 were made already"):
        searched(settings(tmp_path / "grown", trials=2, resume=True, **few))
    grown = searched(settings(tmp_path / "grown", trials=6, finalists=3, resume=True, **few))
    whole = searched(settings(tmp_path / "whole", trials=6, finalists=3, **few))
    assert trials(tmp_path / "grown") == trials(tmp_path / "whole")
    assert grown.summary["winner"] == whole.summary["winner"]
    again = searched(settings(tmp_path / "grown", trials=6, finalists=3, resume=True, **few))
    assert again.summary == grown.summary


def test_a_budget_that_ended_a_search_may_be_raised_on_resume(tmp_path: Path) -> None:
    few = {"benchmark": sums(8, 8, 8), "trials": 6}
    searched(settings(tmp_path / "grown", max_calls=120, **few))
    assert len(trials(tmp_path / "grown")) < 6
    cut(tmp_path / "grown", '"split":"selection"')
    grown = searched(settings(tmp_path / "grown", max_calls=5000, resume=True, **few))
    whole = searched(settings(tmp_path / "whole", max_calls=5000, **few))
    assert trials(tmp_path / "grown") == trials(tmp_path / "whole")
    assert grown.summary["winner"] == whole.summary["winner"]


def test_what_another_search_puts_into_a_shared_cache_is_not_counted(tmp_path: Path) -> None:
    few = {"benchmark": sums(8, 8, 8), "trials": 4, "max_calls": 400}
    whole = searched(settings(tmp_path / "whole", **few))
    shared = tmp_path / "shared.sqlite"
    searched(settings(tmp_path / "cut", cache=shared, **few))
    cut(tmp_path / "cut", '"phase":"search"')

    async def other() -> None:
        store = CacheStore(shared, "another search")
        await asyncio.gather(*(store.put(f"key {number}", "{}") for number in range(500)))
        await store.aclose()

    asyncio.run(other())
    resumed = searched(settings(tmp_path / "cut", cache=shared, resume=True, **few))
    assert trials(tmp_path / "cut") == trials(tmp_path / "whole")
    assert resumed.summary["winner"] == whole.summary["winner"]


def test_two_searches_do_not_share_a_folder(tmp_path: Path) -> None:
    given = settings(tmp_path)
    holder = Study(tmp_path, given.identity, resume=False)
    try:
        with pytest.raises(ConfigError, match="another search is running"):
            searched(settings(tmp_path, resume=True))
    finally:
        holder.close()


def test_a_log_that_is_no_log_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text("no json\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 1 cannot be read"):
        searched(settings(tmp_path, resume=True))


def test_a_resumed_search_that_would_walk_elsewhere_stops(tmp_path: Path) -> None:
    searched(settings(tmp_path))
    found = log(tmp_path)
    search_rows = [index for index, row in enumerate(found) if row.get("phase") == "search"]
    found[search_rows[0]], found[search_rows[5]] = found[search_rows[5]], found[search_rows[0]]
    (tmp_path / LOG).write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot resume: trial 1"):
        searched(settings(tmp_path, resume=True))


@pytest.mark.parametrize("calls", [420, 500, 640])
def test_max_calls_bounds_the_search_and_not_the_confirmation(tmp_path: Path, calls: int) -> None:
    found = searched(settings(tmp_path, max_calls=calls, trials=30))
    assert found.summary["calls"]["search"] <= calls
    assert found.summary["calls"]["confirm"] > 0
    assert found.summary["trials"] < 30
    (ended,) = [row for row in log(tmp_path) if row.get("event") == "search_ended"]
    assert "budget" in ended["reason"]


def test_a_budget_too_small_for_the_baselines_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--max-calls"):
        searched(settings(tmp_path, max_calls=30))


def test_a_dollar_budget_holds(tmp_path: Path) -> None:
    short = space(models=rows(max_tokens=20))  # part of every request, so of every draw
    free = searched(settings(tmp_path / "free", space=short))
    spent = sum(row["spend"]["cost_usd"] for row in log(tmp_path / "free") if row.get("split") == "search")
    bound = searched(settings(tmp_path / "bound", max_usd=0.9, space=short))
    assert spent < 0.9
    assert bound.summary["winner"]["hash"] == free.summary["winner"]["hash"]
    with pytest.raises(ConfigError, match="price is unknown"):
        searched(settings(tmp_path / "none", max_usd=1.0, space=space(models=rows(price=None))))


def test_a_missing_price_or_key_of_any_model_is_told_before_the_first_call(tmp_path: Path) -> None:
    weak, fair, good = rows()
    unpriced = space(models=[weak, fair, {**good, "price": None}])
    with pytest.raises(ConfigError, match="price is unknown of fake/good"):
        searched(settings(tmp_path, confirm_usd=1.0, space=unpriced))
    keyless = {"id": "fake/good", "client": "openai", "endpoint": "http://127.0.0.1:9/v1", "key_env": "NO_SUCH_KEY"}
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        searched(settings(tmp_path, space=space(models=[weak, fair, keyless])))
    assert [row.get("event") for row in log(tmp_path)] == ["settings", "extent"]


def test_a_folder_whose_search_never_measured_anything_is_free(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--max-calls"):
        searched(settings(tmp_path, max_calls=5))
    assert searched(settings(tmp_path)).summary["trials"] == 8


def test_where_no_model_answers_the_search_ends_and_has_no_verdict(tmp_path: Path) -> None:
    down = [{**row, "options": {"failures": {"refused": 1.0}}} for row in rows()]
    with pytest.raises(ConfigError, match=r"no model of the space 'sums' answered .* refused"):
        searched(settings(tmp_path, space=space(models=down)))


def test_an_outage_while_confirming_is_no_score(tmp_path: Path) -> None:
    async def out_of_order(architecture: Any, messages: Any, clients: Any, **options: Any) -> Any:
        if down and any(row.get("event") == "search_ended" for row in log(tmp_path)):
            raise RunError("no answer", [RetryableError("503 out of order", status=503)])
        return await run(architecture, messages, clients, **options)

    down = True
    with pytest.raises(ConfigError, match=r"503 out of order.*--resume"):
        searched(settings(tmp_path, execute=out_of_order))
    down = False
    assert searched(settings(tmp_path, execute=out_of_order, resume=True)).summary["calls"]["confirm"] > 0


def test_an_outage_in_the_middle_of_a_trial_is_stored_nowhere_and_resume_repeats_the_trial(tmp_path: Path) -> None:
    async def dropping(architecture: Any, messages: Any, clients: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 70:  # 8 baselines of 8 questions end at 64
            raise RunError("no answer", [RetryableError("503 out of order", status=503)])
        return await run(architecture, messages, clients, **options)

    asked, few = 0, {"benchmark": sums(8, 8, 8), "trials": 3, "concurrency": 2}
    with pytest.raises(ConfigError, match=r"dropped out while .* on search: no answer: 503 out of order.*--resume"):
        searched(settings(tmp_path / "dropped", execute=dropping, **few))
    assert trials(tmp_path / "dropped") == []
    resumed = searched(settings(tmp_path / "dropped", execute=dropping, resume=True, **few))
    whole = searched(settings(tmp_path / "whole", **few))
    assert trials(tmp_path / "dropped") == trials(tmp_path / "whole")
    assert resumed.summary["winner"] == whole.summary["winner"]


@dataclass(frozen=True)
class Cursed:
    """Cannot score one answer."""

    inner: Scorer

    async def score(self, question: Question, answer: Completion, ctx: Context | None) -> Score:
        if answer.message.text == "cursed":
            raise ZeroDivisionError("it is cursed")
        return await self.inner.score(question, answer, ctx)


def test_a_system_that_cannot_be_scored_is_worth_nothing_to_the_sampler_and_never_wins(tmp_path: Path) -> None:
    async def cursing(architecture: Any, messages: Any, clients: Any, **options: Any) -> Any:
        result = await run(architecture, messages, clients, **options)
        return replace(result, answer=user("cursed")) if architecture.architecture.hash == cursed else result

    small = sums(8, 8, 8)
    cursed = searched(settings(tmp_path / "plain", benchmark=small, trials=4)).summary["winner"]["hash"]
    benchmark = replace(small, scorer=Cursed(small.scorer))
    found = searched(settings(tmp_path / "cursed", execute=cursing, benchmark=benchmark, trials=4))
    row = next(row for row in log(tmp_path / "cursed") if row.get("hash") == cursed)
    assert row["quality"] is None
    assert found.summary["winner"]["hash"] != cursed


def test_a_winner_that_is_the_equal_cost_vote_is_called_so(finished: tuple[Path, SearchResult]) -> None:
    study = Study(finished[0], settings(finished[0]).identity, resume=True)
    study.close()
    one, other = (each for each in list(study.of("baselines"))[:2])
    difference = one.evaluation.minus(other.evaluation)
    said = verdict(one, other, one, difference, one.evaluation.minus(one.evaluation))
    assert said.endswith("it is the equal-cost vote itself.")


def test_an_unknown_sampler_is_told_before_a_dry_run(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tpe'"):
        settings(tmp_path, sampler="tp")


def test_dollars_for_confirming_are_not_given_twice(tmp_path: Path) -> None:
    given = {"space": space(models=rows(max_tokens=20)), "confirm_usd": 0.002}
    with pytest.raises(ConfigError, match="--confirm-usd"):
        searched(settings(tmp_path, **given))
    cache = CacheStore(tmp_path / "cache.sqlite")
    kept = len(cache)
    asyncio.run(cache.aclose())
    with pytest.raises(ConfigError, match="--confirm-usd"):
        searched(settings(tmp_path, resume=True, **given))
    cache = CacheStore(tmp_path / "cache.sqlite")
    assert kept <= len(cache) <= kept + 1
    asyncio.run(cache.aclose())


def test_the_summary_has_the_promised_form(finished: tuple[Path, SearchResult]) -> None:
    summary = json.loads(json.dumps(finished[1].summary))
    system = {"hash", "quality", "ci95", "usd", "calls_per_question"}
    assert set(summary) == {
        "winner", "best_single", "equal_cost_vote", "difference", "verdict", "trials", "calls", "cache_hits",
        "questions",
    }  # fmt: skip
    for name in ("winner", "best_single", "equal_cost_vote"):
        assert set(summary[name]) == system
        low, high = summary[name]["ci95"]
        assert 0 <= low <= summary[name]["quality"] <= high <= 1
    assert set(summary["difference"]) == {"vs_single", "vs_vote"}
    assert set(summary["difference"]["vs_single"]) == {"mean", "ci95"}
    assert set(summary["calls"]) == {"search", "confirm"}
    assert summary["questions"] == {"search": 24, "selection": 30, "held_out": 60}
    difference = summary["winner"]["quality"] - summary["best_single"]["quality"]
    assert summary["difference"]["vs_single"]["mean"] == pytest.approx(difference)


def test_the_winner_is_a_system_that_runs(finished: tuple[Path, SearchResult]) -> None:
    out, result = finished
    system = Archon.load(result.winner)
    assert system.hash == result.summary["winner"]["hash"]
    assert set(system.facts) == {"benchmark", "scores", "search"}
    assert system.facts["benchmark"]["hash"] == sums().fingerprint()
    assert "The answer is" in system.run("What is 100 plus 200?").text
    assert out == result.out


def test_the_leaderboard_ranks_everything_measured_on_the_search_split(finished: tuple[Path, SearchResult]) -> None:
    out, _ = finished
    with (out / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    measured = {row["hash"] for row in log(out) if row.get("split") == "search"}
    assert {row["hash"] for row in found} == measured
    quality = [float(row["search_quality"]) for row in found]
    assert quality == sorted(quality, reverse=True)
    assert sum(row["phase"] == "baselines" for row in found) == 3 * 2 + 2  # greedy and sampled, and two votes


def test_no_held_out_question_is_asked_of_more_than_three_systems(finished: tuple[Path, SearchResult]) -> None:
    held_out = [row for row in log(finished[0]) if row.get("split") == "held_out"]
    assert len(held_out) <= 3
    searching = {row["phase"] for row in log(finished[0]) if row.get("split") == "search"}
    assert searching == {"baselines", "search"}


def test_progress_tells_every_phase_and_never_goes_back(tmp_path: Path) -> None:
    seen: list[Progress] = []
    asyncio.run(search(settings(tmp_path), seen.append))
    assert list(dict.fromkeys(each.phase for each in seen)) == ["baselines", "search", "selection", "held_out"]
    assert [each.calls for each in seen] == sorted(each.calls for each in seen)
    assert seen[-1].done == seen[-1].total == 3
    assert all(each.done <= each.total for each in seen)


def test_rankings_are_measured_where_the_space_asks_for_the_top(tmp_path: Path) -> None:
    top = {
        "name": "top",
        "choices": {"k": {"range": [1, 3]}},
        "stages": [
            {"layer": "generator", "models": {"top": "$k", "by": "generators"}},
            {"layer": "fuser", "model": {"top": 1, "by": "fusers"}},
        ],
    }
    ranked = space(families=[top], rankings={"generators": MODELS, "fusers": MODELS})
    searched(settings(tmp_path, space=ranked))
    found = log(tmp_path)
    alone = {
        row["name"].removesuffix(", sampled"): row["quality"]
        for row in found
        if row.get("split") == "search" and row.get("name", "").endswith(", sampled")
    }
    assert sum(row.get("phase") == "ranking" for row in found) == 3  # the generators are baselines already
    best = sorted(MODELS, key=lambda model: -alone[model])
    for row in found:
        if row.get("phase") == "search":
            drawn = {node["model"] for node in row["architecture"]["nodes"] if node["layer"] == "generator"}
            assert drawn == set(best[: row["chosen"]["k"]])


def test_systems_that_fail_score_nothing_and_do_not_stop_the_search(tmp_path: Path) -> None:
    broken = rows()
    broken[0]["options"]["failures"] = {"refused": 1.0}
    found = searched(settings(tmp_path, space=space(models=broken)))
    measured = [row for row in log(tmp_path) if row.get("name") == "fake/weak, greedy"]
    assert measured[0]["quality"] == 0.0
    assert "fake/weak" not in {node["model"] for node in _winner(tmp_path, found)}


def _winner(out: Path, found: SearchResult) -> list[dict[str, Any]]:
    wanted = found.summary["winner"]["hash"]
    row = next(row for row in log(out) if row.get("hash") == wanted)
    return [node for node in row["architecture"]["nodes"] if "model" in node]


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"batch": 0}, {"cost_weight": -1.0}, {"tolerance": float("nan")}])
def test_wrong_settings_are_refused_before_anything_is_called(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        settings(tmp_path, **wrong)


def test_an_empty_split_is_refused_before_anything_is_called(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="held_out"):
        searched(settings(tmp_path, benchmark=sums(held_out=0)))


def test_a_cost_weight_makes_the_search_prefer_cheap_systems(tmp_path: Path) -> None:
    dear = searched(settings(tmp_path / "dear"))
    cheap = searched(settings(tmp_path / "cheap", cost_weight=1e6))
    assert cheap.summary["winner"]["calls_per_question"] <= dear.summary["winner"]["calls_per_question"]
    text = (tmp_path / "cheap" / "leaderboard.csv").read_text(encoding="utf-8")
    first = next(csv.DictReader(text.splitlines()))
    assert float(first["calls_per_question"]) == 1
    with pytest.raises(ConfigError, match="needs prices"):
        searched(settings(tmp_path / "none", cost_weight=1.0, space=space(models=rows(price=None))))


def test_a_dry_run_calls_nothing_and_bounds_what_a_search_makes(tmp_path: Path) -> None:
    given = settings(tmp_path)
    expected = dry_run(given)
    assert list(tmp_path.iterdir()) == []
    found = searched(given)
    assert found.summary["calls"]["search"] <= expected.search_calls
    assert found.summary["calls"]["confirm"] <= expected.confirm_calls
    assert expected.questions == found.summary["questions"]
    assert expected.usd is not None
    assert dry_run(settings(tmp_path, space=space(models=rows(price=None)))).unpriced == MODELS


def test_a_dry_run_knows_how_short_the_answers_of_the_zoo_and_of_a_bound_are(tmp_path: Path) -> None:
    def written(**row: Any) -> int:
        expected = dry_run(settings(tmp_path, space=space(models=rows(**row))))
        (said,) = (text for text in expected.assumptions if "writes" in text)
        return int(said.split("writes ")[1].split(",")[0])

    assert written() == 300
    assert written(max_tokens=20) == 20
    assert written(pack="zoo") == 31
    assert written(pack="zoo", max_tokens=64) == 31
