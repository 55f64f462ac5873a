"""The figures of the report: what they draw."""

import pytest
from measured import grid_rows

from Miniproject_1.model import Recipe
from Miniproject_1.others.study import plots
from Miniproject_1.others.study.presets import BATCH_PAIRS, STEPS

Figure = pytest.importorskip("matplotlib.figure").Figure


def lines_of(axes):
    """Label -> points of each line with error bars."""
    return {bars.get_label(): list(map(tuple, bars.lines[0].get_xydata()))
            for bars in axes.containers}


def test_layers_are_those_of_the_network():
    kinds, shapes = zip(*plots.layers(Recipe(channels=1, widths=(4, 8)), side=16), strict=True)
    assert kinds == ("head", "blocks", "down", "blocks", "up", "blocks", "tail")
    assert shapes == ((4, 16, 16), (4, 16, 16), (8, 8, 8), (8, 8, 8), (4, 16, 16), (4, 16, 16),
                      (1, 16, 16))


@pytest.mark.parametrize("widths", [(8,), (8, 16), (8, 16, 32)])
def test_the_network_is_drawn_with_a_skip_for_each_way_up(widths):
    figure = Figure()
    plots.draw_network(figure, Recipe(widths=widths))
    boxes = 3 + 4 * (len(widths) - 1)
    patches = figure.axes[0].patches
    assert len(patches) == boxes + (boxes - 1) + (len(widths) - 1)  # boxes, arrows, skips


def test_the_grid_has_all_points_of_all_three_results():
    figure = Figure()
    plots.draw_grid(figure, grid_rows("published", gain=1) + grid_rows("ours", gain=2))
    reported, published, ours = figure.axes
    for axes, gain in ((reported, 0), (published, 1), (ours, 2)):
        lines = lines_of(axes)
        assert len(lines) == 6
        assert lines["MSE, rate × 1"] == [
            (32, 24.15 + gain), (64, 24.07 + gain), (128, 24.03 + gain)]


def test_batches_are_drawn_by_what_is_equal_and_by_their_rate():
    def row(batch, pairs, rate, psnr, seed=0):
        recipe = {"batch": batch, "learning_rate": rate}
        return {"recipe": recipe, "pairs": pairs, "epochs": 1, "psnr": psnr, "seed": seed}

    rate = Recipe().learning_rate
    rows = [row(128, BATCH_PAIRS, 2 * rate, 25.1), row(128, BATCH_PAIRS, rate, 25.2),
            row(32, BATCH_PAIRS, rate, 25.3), row(32, BATCH_PAIRS, rate, 25.5, 1),
            row(32, 32 * STEPS, rate, 25.0)]
    scale = {"moments": [{"epoch": 1, "gradient": 2.0, "variance": 200.0},
                         {"epoch": 5, "gradient": 1.0, "variance": 300.0}]}
    figure = Figure()
    plots.draw_batches(figure, rows, [scale, scale])
    left, right = figure.axes
    assert lines_of(left) == {
        "equal pairs": [(32, 25.4), (128, 25.2)],
        "equal pairs, rate scaled": [(32, 25.4), (128, 25.1)],
        "equal steps": [(32, 25.0)], "equal steps, rate scaled": [(32, 25.0)]}
    assert right.lines[0].get_xydata().tolist() == [[1, 100], [5, 300]]


def test_targets_are_drawn_from_few_to_many_pairs():
    rows = [{"clean_targets": clean, "pairs": pairs, "psnr": pairs / 1000 + clean}
            for pairs in (3_000, 1_000) for clean in (True, False)]
    figure = Figure()
    plots.draw_targets(figure, rows)
    assert lines_of(figure.axes[0]) == {
        "noisy targets": [(1000, 1), (3000, 3)], "clean targets": [(1000, 2), (3000, 4)]}


def test_curves_have_a_panel_for_each_training_without_the_state_before_it():
    history = [{"epoch": epoch, "psnr": 20.0 + epoch, "psnr_pooled": 19.0, "est_psnr": 19.5,
                "loss": 1 / (1 + epoch)} for epoch in range(3)]
    figure = Figure()
    plots.draw_curves(figure, [{"name": name, "history": history} for name in ("one", "other")])
    panels = figure.axes[:2]
    assert [axes.get_title() for axes in panels] == ["one", "other"]
    assert [axes.lines[0].get_xydata().tolist() for axes in panels] == [[[1, 21], [2, 22]]] * 2


def test_a_network_without_results_has_no_panel_in_the_grid():
    figure = Figure()
    plots.draw_grid(figure, grid_rows("published")[:1])
    assert len(figure.axes) == 2
