"""The recipes of the study."""

import pytest

from Miniproject_1.model import Model, Recipe
from Miniproject_1.others.study.published import PublishedModel
from Miniproject_1.others.study.recipes import OURS, PUBLISHED, RECIPES, contestants, new_model


def test_ours_is_what_the_model_trains_by_default():
    assert RECIPES[OURS] == Recipe()


def test_each_name_gives_an_untrained_model_of_its_recipe():
    models = {name: new_model(recipe) for name, recipe in contestants([*RECIPES]).items()}
    assert all(isinstance(model, Model) for model in models.values())
    assert {name: model.recipe for name, model in models.items()} == RECIPES


def test_the_published_network_stands_beside_them():
    (recipe,) = contestants([PUBLISHED]).values()
    assert isinstance(new_model(recipe), PublishedModel)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="ourz.* ours; .*published"):
        contestants([OURS, "ourz"])
