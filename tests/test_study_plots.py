"""The figures of the report: what they draw."""

import pytest
from measured import grid_rows, measured, recipe, swept, write

from Miniproject_1.model import Recipe
from Miniproject_1.others.study import plots
from Miniproject_1.others.study.measurements import read
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


def test_batches_are_drawn_by_what_is_equal_and_by_their_rate(tmp_path):
    files = measured()
    rate = files["trainings.jsonl"][2]["recipe"]["learning_rate"]
    files["batches.jsonl"] = [
        swept("batches", "ours", psnr, pairs, 1, seed=seed,
              recipe=recipe(batch=batch, learning_rate=factor * rate))
        for batch, pairs, factor, psnr, seed in (
            (128, BATCH_PAIRS, 2, 25.1, 0), (128, BATCH_PAIRS, 1, 25.2, 0),
            (32, BATCH_PAIRS, 1, 25.3, 0), (32, BATCH_PAIRS, 1, 25.5, 1),
            (32, 32 * STEPS, 1, 25.0, 0))]
    figure = Figure()
    plots.draw_batches(figure.subplots(), read(write(tmp_path, files)))
    assert lines_of(figure.axes[0]) == {
        "equal pairs": [(32, 25.4), (128, 25.2)],
        "equal pairs, scaled": [(32, 25.4), (128, 25.1)],
        "equal steps": [(32, 25.0)], "equal steps, scaled": [(32, 25.0)]}


def test_the_noise_scale_is_that_of_all_seeds_at_each_moment():
    row = {"moments": [{"epoch": 1, "gradient": 2.0, "variance": 200.0},
                       {"epoch": 5, "gradient": 1.0, "variance": 300.0}]}
    figure = Figure()
    plots.draw_noise_scale(figure.subplots(), [row, row])
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[1, 100], [5, 300]]


def test_targets_are_drawn_from_few_to_many_pairs():
    rows = [{"clean_targets": clean, "pairs": pairs, "psnr": pairs / 1000 + clean}
            for pairs in (3_000, 1_000) for clean in (True, False)]
    figure = Figure()
    plots.draw_targets(figure.subplots(), rows)
    assert lines_of(figure.axes[0]) == {
        "noisy targets": [(1000, 1), (3000, 3)], "clean targets": [(1000, 2), (3000, 4)]}


def test_curves_leave_out_the_state_before_training():
    history = [{"epoch": epoch, "psnr": 20.0 + epoch, "psnr_pooled": 19.0 + epoch,
                "est_psnr": 18.0 + epoch, "loss": 1 / (1 + epoch)} for epoch in range(3)]
    figure = Figure()
    plots.draw_curves(figure.subplots(), {"name": "one", "history": history})
    axes, losses = figure.axes
    assert axes.get_title() == "one"
    assert {line.get_label(): line.get_xydata().tolist() for line in axes.lines} == {
        "per image": [[1, 21], [2, 22]], "pooled": [[1, 20], [2, 21]],
        "pooled, estimated": [[1, 19], [2, 20]]}
    assert losses.lines[0].get_xydata().tolist() == [[1, 1 / 2], [2, 1 / 3]]


def test_trainings_have_a_panel_for_each_network_and_one_for_the_time(tmp_path):
    figure = Figure()
    plots.draw_training(figure, read(write(tmp_path, measured())))
    published, ours, time = figure.axes[:3]
    assert (published.get_title(), ours.get_title()) == ("published", "ours")
    assert lines_of(time)["ours"] == [(1, 25.68), (5, 25.84), (20, 25.92)]


def test_a_network_without_results_has_no_panel_in_the_grid():
    figure = Figure()
    plots.draw_grid(figure, grid_rows("published")[:1])
    assert len(figure.axes) == 2
