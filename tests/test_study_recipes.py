"""The recipes of the study."""

import json

import pytest

from Miniproject_1.model import Recipe
from Miniproject_1.others.study.published import PublishedModel
from Miniproject_1.others.study.recipes import (
    CHANGES,
    OURS,
    PUBLISHED,
    RECIPES,
    changes,
    contestants,
    new_model,
)


def test_ours_is_what_the_model_trains_by_default():
    assert RECIPES[OURS] == Recipe()


def test_each_name_gives_an_untrained_model_of_its_recipe():
    models = {name: new_model(recipe) for name, recipe in contestants([*RECIPES]).items()}
    assert {name: model.recipe for name, model in models.items()} == RECIPES
    assert [name for name, model in models.items() if isinstance(model, PublishedModel)] == [
        PUBLISHED]


def test_each_change_changes_something():
    """A name that fails is the default now: take it out of CHANGES."""
    assert [name for name, recipe in CHANGES.items()
            if not changes(vars(recipe), vars(Recipe()))] == []


def test_changes_are_told_by_field_also_of_a_recipe_read_from_a_file():
    usual, other = Recipe(), Recipe(widths=(16, 32), swap="random")
    assert changes(vars(other), vars(usual)) == "widths 16, 32; swap random"
    assert changes(json.loads(json.dumps(vars(usual))), vars(usual)) == ""


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="ourz.* ours; .*published"):
        contestants([OURS, "ourz"])
