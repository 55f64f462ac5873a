"""The recipes of the study: ours, and what one change of it costs. A new one is a line in RECIPES.

`python -m Miniproject_1.others.study.compare NAME ...` trains them side by side.
"""

from dataclasses import replace

from ...model import Recipe

OURS = "ours"

RECIPES: dict[str, Recipe] = {
    OURS: Recipe(),
    "MSE loss": replace(Recipe(), loss="mse"),
    "L1 loss": replace(Recipe(), loss="l1"),
    "Adam": replace(Recipe(), optimizer="adam", learning_rate=2e-3),
    "one direction": replace(Recipe(), swap="random"),
    "no turns": replace(Recipe(), turns=False),
    "no EMA": replace(Recipe(), ema=0.0),
    "narrow": replace(Recipe(), widths=(16, 32)),
    "three levels": replace(Recipe(), widths=(32, 64, 128)),
    "half learning rate": replace(Recipe(), learning_rate=2.5e-3),
}
