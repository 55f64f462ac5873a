"""The page of results, which is generated from the results files."""

import copy
import re

import pytest
from helpers import ROOT
from measured import DATA, PLACE, measured, recipe, rows_of_ours, swept, training, write

from Miniproject_1.others.study.kinds import KINDS
from Miniproject_1.others.study.measurements import COMMANDS, pretrained, read
from Miniproject_1.others.study.page import main, page
from Miniproject_1.others.study.presets import BATCH_PAIRS, STEPS


@pytest.fixture
def files():
    return measured()


def page_of(files, folder):
    return page(read(write(folder, files)))


def cells(page, name):
    """The cells of the first line of a table that begins with a name."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def assert_refused(files, folder, *words):
    with pytest.raises(ValueError) as refusal:
        page_of(files, folder)
    for word in words:
        assert word in str(refusal.value)


def test_the_committed_page_is_what_the_committed_results_give():
    report = ROOT / "report"
    assert main(["--check", "--results", str(report / "results"), "-o",
                 str(report / "RESULTS.md")]) == 0


@pytest.mark.parametrize("name", ["README.md", "MODEL_CARD.md", "Miniproject_1/model.py"])
def test_figures_of_other_pages_stand_in_the_results(name):
    figures = set(re.findall(r"\b\d\d\.\d\d\b", (ROOT / name).read_text(encoding="utf-8")))
    results = (ROOT / "report/RESULTS.md").read_text(encoding="utf-8")
    assert figures and figures <= set(re.findall(r"\b\d\d\.\d\d\b", results))


def test_the_model_card_has_the_psnr_of_the_weights():
    row = pretrained(read(ROOT / "report/results").trainings)
    card = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"| PSNR | {row['psnr']:.2f} dB per image, {row['psnr_pooled']:.2f} dB pooled" in card
    assert f"| {row['psnr_without_self_ensemble']:.2f} dB per image |" in card


def test_accuracy_is_sorted_and_has_the_noisy_images_first(files, tmp_path):
    text = page_of(files, tmp_path)
    names = ["noisy images", "published, 10 min", "ours, 1 min", "ours, 5 min", "ours, 10 epochs",
             "bestmodel.pth"]
    places = [text.index(f"| {name} ") for name in names]
    assert places == sorted(places)
    assert cells(text, "noisy images")[1:3] == ["20.50", "19.50"]
    line = cells(text, "ours, 10 epochs")
    assert line[1:] == ["25.92", "24.92", "25.86", "239,296", "500,000", "0"]
    assert cells(text, "published, 10 min")[3] == "-"


def test_the_pretraining_has_a_line_for_each_epoch(files, tmp_path):
    text = page_of(files, tmp_path).split("## Pretrained weights")[1]
    assert cells(text, "    0") == ["0", "-", "20.50", "0"]
    assert cells(text, "    2") == ["2", "-", "25.98", "60"]
    assert "blocks 3" in text


def test_seeds_give_mean_and_deviation(files, tmp_path):
    files["trainings.jsonl"].append(training("ours", 25.96, epochs=10, seed=3))
    line = cells(page_of(files, tmp_path), "ours, 10 epochs")
    assert line[1] == "25.94 ± 0.03" and line[-1] == "0, 3"


def test_what_was_measured_again_replaces_the_old(files, tmp_path):
    files["trainings.jsonl"].append(training("ours", 25.5, epochs=10))
    assert cells(page_of(files, tmp_path), "ours, 10 epochs")[1] == "25.50"


def test_ablations_are_compared_with_ours_of_the_same_file(files, tmp_path):
    text = page_of(files, tmp_path)
    assert cells(text, "MSE loss")[1:4] == ["loss mse", "24.900", "-0.100"]
    assert cells(text, "three levels")[1:4] == ["widths 32, 64, 128", "25.100", "+0.100"]
    assert text.index("| three levels") < text.index("| MSE loss")


def test_ablations_of_several_seeds_are_compared_seed_by_seed(files, tmp_path):
    """Of ours by 0.1 and 0.14 dB: mean 0.12, standard deviation 0.04 / sqrt(2)."""
    ours, loss, levels = files["ablations.jsonl"]
    files["ablations.jsonl"] += [row | {"seed": 1, "psnr": psnr} for row, psnr in (
        (ours, 25.5), (loss, 25.36), (levels, 25.6))]
    line = cells(page_of(files, tmp_path), "MSE loss")
    assert line[2:4] == ["25.130 ± 0.325", "-0.120 ± 0.028"]


def test_speeds_are_relative_to_ours_on_the_same_machine(files, tmp_path):
    assert cells(page_of(files, tmp_path), "three levels")[-1] == "0.50"
    files["ablations.jsonl"][2]["processor"] = "another"
    assert cells(page_of(files, tmp_path), "three levels")[-1] == "-"


def test_few_pairs_are_compared_with_ours_on_as_few(files, tmp_path):
    text = page_of(files, tmp_path)
    assert cells(text, "no turns")[1:4] == ["turns False", "24.000", "-0.500"]
    assert "40 epochs of 500 pairs" in text


def test_ours_without_self_ensemble_is_an_ablation(files, tmp_path):
    assert cells(page_of(files, tmp_path), "no self-ensemble")[2:4] == ["24.940", "-0.060"]


def test_the_published_study_has_its_settings_and_findings(files, tmp_path):
    for row in files["table1.jsonl"]:
        row["psnr"] = 25.0 + (row["recipe"]["loss"] == "mse")
    text = page_of(files, tmp_path)
    assert cells(text, "mse ")[1:5] == ["× 0.1", "32", "23.91", "26.00"]
    assert cells(text, "MSE above L1")[1:] == ["+0.67", "+1.00", "+1.00"]


def test_a_network_that_was_not_trained_has_no_column(files, tmp_path):
    files["table1.jsonl"] = [row for row in files["table1.jsonl"]
                             if row["network"] == "published"]
    text = page_of(files, tmp_path)
    assert cells(text, "mse ")[1:] == ["× 0.1", "32", "23.91", "23.91"]
    assert cells(text, "batch 32 above 128")[1:] == ["+0.18", "+0.18"]
    assert cells(text, "pairs of settings in the reported order")[2:] == ["100%"]


def test_each_epoch_has_what_was_measured_after_it(files, tmp_path):
    text = page_of(files, tmp_path).split("## Epoch by epoch")[1]
    assert cells(text, "    2") == ["2", *["0.5000", "27.00", "26.00", "26.10"] * 2]


def test_photos_have_the_psnr_of_each_network(files, tmp_path):
    assert cells(page_of(files, tmp_path), "2")[1:] == ["21.00", "26.13"]


def test_targets_are_compared_seed_by_seed_for_each_number_of_pairs(files, tmp_path):
    files["scaling.jsonl"] = [
        swept("scaling", "ours", psnr, pairs, 50_000 // pairs, clean_targets=clean, seed=seed)
        for pairs, clean, seed, psnr in (
            (10_000, False, 0, 25.6), (1_000, True, 0, 25.3), (1_000, False, 0, 25.0),
            (1_000, False, 1, 25.1), (1_000, True, 1, 25.4), (10_000, True, 0, 25.65))]
    text = page_of(files, tmp_path)
    assert cells(text, " 1,000")[2:] == ["25.050 ± 0.071", "25.350 ± 0.071", "+0.300 ± 0.000"]
    assert cells(text, "10,000")[2:] == ["25.600", "25.650", "+0.050"]


def test_batches_stand_beside_the_noise_of_the_gradient(files, tmp_path):
    own = recipe(batch=64)
    files["batches.jsonl"] = [swept("batches", "ours", 25.5, BATCH_PAIRS, 1, recipe=own),
                              swept("batches", "ours", 25.3, STEPS * 64, 1, recipe=own)]
    for row in files["noise_scale.jsonl"]:
        row["moments"] = [{"epoch": 5, "gradient": 2.0, "variance": 2469.0}]
    text = page_of(files, tmp_path)
    assert cells(text, "   64")[1:] == ["0.005", "25.500", "25.300"]
    assert cells(text, "ours   |     5")[2:] == ["1,234"]


@pytest.mark.parametrize("changed", [
    {"preset": "batches"}, {"pairs_seen": 49_000}, {"pairs": 500, "epochs": 100},
    {"data": DATA | {"checksum": "other"}}])
def test_sweeps_that_do_not_belong_together_are_refused(files, tmp_path, changed):
    first = swept("table1", "ours", 25.0, 5_000, 10)
    files["table1.jsonl"] = [first, first | {"seed": 1} | changed]
    assert_refused(files, tmp_path, "table1.jsonl")


def test_robustness_has_a_line_for_each_case(files, tmp_path):
    line = cells(page_of(files, tmp_path), "32 x 32, 1 sample")
    assert line[1:] == ["222", "21.53", "26.74", "-0.31", "5"]


def test_other_noise_has_a_line_for_each_kind(files, tmp_path):
    text = page_of(files, tmp_path)
    gaussian, camera = KINDS["gaussian"].about, KINDS["camera"].about
    assert cells(text, gaussian)[1:] == ["20.25", "25.50", "30.25", "30.50", "30.62"]
    assert cells(text, camera)[4:] == ["37.50", "-"]
    text = " ".join(text.split())
    assert "+1.5 of 255" in text and "+1.3 after training on noisy targets" in text


def test_processes_and_kills_have_a_line_each(files, tmp_path):
    text = page_of(files, tmp_path)
    assert "| ours   |         2 |            180 |            171 |  0.95 |" in text
    assert cells(text, "200")[1:] == ["199", "1"]


def test_every_section_says_what_where_when_and_how(files, tmp_path):
    sections = page_of(files, tmp_path).split("\n## ")[1:]
    assert len(sections) == 14
    for section in sections:
        for fact in ("A_B 100%", "2 threads", "PyTorch 2.0", "2026-01-02", PLACE["command"]):
            assert fact in section
    for section in sections[:10]:
        assert "aaaabbbbcccc" in section and "50,000 pairs from photos, seed 7" in section
    ablations = next(section for section in sections if section.startswith("Ablations"))
    assert "the first 20,000 of 50,000 pairs" in ablations
    scaling = next(section for section in sections if section.startswith("Number of pairs"))
    assert "the first 1,000 and 10,000 of 50,000 pairs" in scaling


def test_machines_are_told_apart(files, tmp_path):
    files["trainings.jsonl"][3]["processor"] = "another"
    assert "- bestmodel.pth: another (cpu" in page_of(files, tmp_path)


def test_of_many_settings_only_their_number_is_told(files, tmp_path):
    files["table1.jsonl"][-1]["processor"] = "another"
    text = page_of(files, tmp_path)
    assert "- 18 trainings of published, 17 trainings of ours: A_B" in text
    assert "- ours; " in text


def test_curves_need_the_estimate(files, tmp_path):
    files["curves.jsonl"][1]["history"][2]["est_psnr"] = None
    assert_refused(files, tmp_path, "curves.jsonl", "ours", "more pairs")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_missing_file_is_named_with_the_command_that_makes_it(files, tmp_path, name):
    del files[name]
    assert_refused(files, tmp_path, name, COMMANDS[name][0])


@pytest.mark.parametrize("name", COMMANDS)
def test_rows_of_another_kind_are_refused(files, tmp_path, name):
    files[name].append({"kind": "other"})
    files[name] = files[name][-1:] if name.endswith(".json") else files[name]
    assert_refused(files, tmp_path, name, "other")


@pytest.mark.parametrize("name", COMMANDS)
def test_rows_without_a_field_are_refused(files, tmp_path, name):
    del files[name][-1]["torch"]
    assert_refused(files, tmp_path, name, "torch")


@pytest.mark.parametrize("name, row, field, value", [
    ("trainings.jsonl", 1, "processor", "another"),  # a training by time
    ("trainings.jsonl", 2, "validation", {"images": 1, "checksum": "other"}),
    ("trainings.jsonl", 2, "data", {"kind": "scenes", "pairs": 9, "seed": 0, "checksum": "other"}),
    ("trainings.jsonl", 2, "recipe", {"loss": "another"}),
    ("pretraining.jsonl", 0, "recipe", {"loss": "another"}),  # than of the weights measured
    ("speed.jsonl", 1, "threads", 64),
    ("ablations.jsonl", 1, "data", {"kind": "scenes", "pairs": 9, "seed": 0, "checksum": "other"}),
    ("ablations.jsonl", 1, "epochs", 5),
    ("few_pairs.jsonl", 1, "pairs", 9),
    ("noise_scale.jsonl", 1, "pairs", 9),
    ("noises.jsonl", 1, "validation", {"images": 1, "checksum": "other"}),
    ("noises.jsonl", 2, "minutes", 5),
])
def test_rows_that_cannot_be_compared_are_refused(files, tmp_path, name, row, field, value):
    files[name][row][field] = value
    assert_refused(files, tmp_path, name, field)


def test_a_measurement_of_earlier_weights_is_refused(files, tmp_path):
    files["pretraining.jsonl"][0]["date"] = "2026-02-01T00:00:00+00:00"
    assert_refused(files, tmp_path, "robustness.json", "older")


@pytest.mark.parametrize("name, change", [("ablations.jsonl", "MSE loss"),
                                          ("few_pairs.jsonl", "no turns")])
def test_changes_need_the_same_seeds(files, tmp_path, name, change):
    files[name][1]["seed"] = 5
    assert_refused(files, tmp_path, name, change, "seeds")


def test_targets_need_both_trainings_of_each_seed(files, tmp_path):
    files["scaling.jsonl"][1]["seed"] = 5
    assert_refused(files, tmp_path, "scaling.jsonl", "1,000 pairs", "0, 5")


@pytest.mark.parametrize("name", [
    "speed.jsonl", "ablations.jsonl", "few_pairs.jsonl", "table1.jsonl", "curves.jsonl",
    "batches.jsonl", "noise_scale.jsonl", "scaling.jsonl", "processes.jsonl"])
def test_another_recipe_of_ours_is_refused_unless_told(files, tmp_path, capsys, name):
    for row in rows_of_ours(files)[name]:
        row["recipe"]["momentum"] = 0.5
    results = str(write(tmp_path / "results", files))
    arguments = ["--results", results, "-o", str(tmp_path / "RESULTS.md")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert name in error and "momentum 0.5, expected 0.95" in error and "--any-recipe" in error
    assert main([*arguments, "--any-recipe"]) == 0


def test_the_page_is_written_and_checked(files, tmp_path, capsys):
    results, output = str(write(tmp_path / "results", files)), tmp_path / "RESULTS.md"
    arguments = ["--results", results, "-o", str(output)]
    assert main([*arguments, "--check"]) == 2  # there is none
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    assert output.read_text() == page(read(tmp_path / "results"))

    changed = copy.deepcopy(files)
    changed["trainings.jsonl"][0]["psnr"] += 1
    write(tmp_path / "results", changed)
    capsys.readouterr()
    assert main([*arguments, "--check"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
