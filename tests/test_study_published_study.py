"""The published grid and what it says of losses, batches and rates."""

import pytest
from measured import grid_rows

from Miniproject_1.others.study.published_study import (
    BATCHES,
    CELLS,
    LOSSES,
    REPORTED,
    SHARES,
    agreement,
    cell,
    complete_seeds,
    contrasts,
    findings,
    table,
)


def cells_of(text, *start):
    """The line of a table that begins with these cells."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return next(cells for cells in lines if cells[:len(start)] == [*start])


@pytest.mark.parametrize("name", ["ours", "published"])
def test_the_sweep_has_each_setting_of_the_grid_once(name):
    assert sorted(cell(row) for row in grid_rows(name)) == sorted(CELLS)


def test_the_reported_numbers_stand_where_they_were_published():
    assert len(REPORTED) == len(LOSSES) * len(SHARES) * len(BATCHES) == 18
    assert max(REPORTED, key=REPORTED.get) == ("mse", 1.0, 32) and REPORTED["mse", 1.0, 32] == 24.15
    assert REPORTED["l1", 2.0, 128] == 23.21


def test_each_setting_has_a_line_with_all_three_results():
    rows = grid_rows("published", gain=1)
    rows += grid_rows("ours", gain=2) + grid_rows("ours", 1, gain=2.1)
    text = table(rows)
    assert len(text.splitlines()) == 2 + 18
    line = cells_of(text, "mse", "× 1", "32")
    assert line == ["mse", "× 1", "32", "24.15", "25.15", "26.20 ± 0.07"]


def test_a_network_has_a_column_as_soon_as_it_has_a_row():
    text = table(grid_rows("ours")[:1])
    assert cells_of(text, "l1", "× 0.1", "32")[3:] == ["23.46", "23.46"]
    assert cells_of(text, "l1", "× 0.1", "64")[3:] == ["23.23", "-"]


def test_agreement_is_the_share_of_pairs_of_settings_in_the_reported_order():
    assert agreement(REPORTED) == 1
    assert agreement({place: -psnr for place, psnr in REPORTED.items()}) == 0
    best, second = sorted(CELLS, key=REPORTED.__getitem__)[:-3:-1]
    swapped = REPORTED | {best: REPORTED[second], second: REPORTED[best]}
    equal = 1  # L1 has two settings that were reported equal
    assert agreement(swapped) == pytest.approx(1 - 1 / (18 * 17 / 2 - equal))


def test_contrasts_are_of_means_over_the_grid():
    losses = contrasts({place: float(place.loss == "mse") for place in CELLS})
    assert losses["MSE above L1"] == 1 and losses["batch 32 above 128"] == pytest.approx(0)
    batches = contrasts({place: -place.batch for place in CELLS})
    assert (batches["batch 32 above 64"], batches["batch 32 above 128"]) == (32, 96)
    rates = contrasts({place: place.share for place in CELLS})
    assert rates["rate × 1 above × 0.1"] == pytest.approx(0.9)
    assert rates["rate × 1 above × 2"] == pytest.approx(-1)


def test_findings_have_the_spread_over_seeds_that_are_complete():
    rows = grid_rows("ours") + grid_rows("ours", 1) + grid_rows("ours", 2)[:17]
    for row in rows[:18]:
        row["psnr"] += 0.2 * (row["recipe"]["loss"] == "mse")
    assert len(complete_seeds(rows, "ours")) == 2
    line = cells_of(findings(rows), "MSE above L1")
    reported = contrasts(REPORTED)["MSE above L1"]
    assert line == ["MSE above L1", f"{reported:+.2f}", f"{reported + 0.1:+.2f} ± 0.14"]
