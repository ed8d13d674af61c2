"""Recipes: parts follow each other, each with its own warm-up and decay."""

import pytest

from archon.zoo.recipes import RECIPES, Part, Recipe

TWO = Recipe("two", seed=0, parts=(Part(10, 1.0, 100, vary=False), Part(20, 0.5, 200, vary=True)), warm_up=2)


def test_each_step_belongs_to_its_part() -> None:
    assert [TWO.part(step).largest for step in (0, 9, 10, 29, 30)] == [100, 100, 200, 200, 200]
    assert TWO.steps == 30


def test_the_rate_warms_up_and_decays_to_zero_in_each_part() -> None:
    # Part one: min((step + 1) / 2, 1 - step / 10); part two: half of min((done + 1) / 2, 1 - done / 20).
    expected = [(0, 0.5), (1, 0.9), (5, 0.5), (9, 0.1), (10, 0.25), (12, 0.45), (20, 0.25), (29, 0.025), (30, 0.0)]
    assert [TWO.rate(step) for step, _ in expected] == pytest.approx([rate for _, rate in expected])


def test_a_shorter_run_keeps_the_proportions() -> None:
    assert [part.steps for part in TWO.scaled(15).parts] == [5, 10]
    assert [part.steps for part in TWO.scaled(1).parts] == [1, 1]


def test_recipes_differ_in_seed_and_lessons() -> None:
    recipes = RECIPES.values()
    assert len({recipe.seed for recipe in recipes}) == len(recipes)
    assert len({(recipe.kinds, recipe.shares, recipe.parts) for recipe in recipes}) == len(recipes)


def test_every_part_but_the_last_can_be_learnt_and_every_head_suits_a_vllm_kernel() -> None:
    for recipe in RECIPES.values():
        assert recipe.hidden % recipe.heads == 0
        assert (recipe.hidden // recipe.heads) % 32 == 0
