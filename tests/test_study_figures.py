"""The figure and the numbers of the report."""

import re

import pytest
from helpers import ROOT
from measured import history, measured, published, recipe, rows_of_ours, write

from Miniproject_1.others.study.figures import main
from Miniproject_1.others.study.macros import latex, macros, psnr_after, scientific
from Miniproject_1.others.study.measurements import COMMANDS, read
from Miniproject_1.others.study.presets import BATCH_PAIRS


@pytest.fixture
def files():
    return measured()


def numbers_of(files, folder):
    """The macros as LaTeX would read them."""
    text = latex(macros(read(write(folder, files))))
    return dict(re.findall(r"^\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}$", text, re.MULTILINE))


def test_the_committed_numbers_are_what_the_committed_results_give():
    report = ROOT / "report"
    committed = (report / "results/numbers.tex").read_text()
    assert committed == latex(macros(read(report / "results")))


def test_the_report_has_measured_numbers_as_macros_only():
    """Decimals that stand in it are those that others report, or lengths of the layout."""
    text = (ROOT / "report/report.tex").read_text()
    text = re.sub(r"(?m)(?<!\\)%.*$", "", text.split(r"\begin{document}")[1])
    text = re.sub(r"\\(includegraphics|setlength|bibitem)\b.*", "", text)
    assert set(re.findall(r"\d+\.\d+", text)) <= {"20.72", "24.15", "25.75", "25.83"}


def test_numbers(files, tmp_path):
    expected = {
        "Pairs": "50,000", "ValidationImages": "1,000", "Epochs": "10",
        "NoisyPerImage": "20.50", "NoisyPooled": "19.50",
        "RetrainedPerImage": "25.92", "RetrainedPooled": "24.92", "EnsembleGain": "0.06",
        "PretrainedPerImage": "26.05", "PretrainedPooled": "25.05", "PretrainedParameters": "0.35",
        "PretrainedPairs": "50,000", "PretrainedEpochs": "2", "PretrainedSeen": "100,000",
        "PretrainedMinutes": "20", "PretrainedBlocks": "3", "AblationSeeds": "1",
        "PretrainedMachine": r"A\_B 100\%, 2 threads, PyTorch 2.0",
        "OursShort": "25.68", "PublishedLong": "25.19", "PublishedLongEpochs": "1.2",
        "OursEqualTime": "25.84", "EqualTimeGain": "0.70", "HalfTimeGain": "0.65",
        "CareamicsPerImage": "23.52", "CareamicsGain": "2.32",
        "OursShortSeen": "25,000", "RetrainedMinutes": "20", "PretrainedEnsembleGain": "0.06",
        "WorkRatio": "2.2", "CareamicsVersion": "0.3.5", "CareamicsSeen": "18,000",
        "GaussianGain": "0.25", "GaussianGap": "0.12", "MaskedGap": "1.00", "ClippedGap": "4.00",
        "WorstCase": r"32 $\times$ 32, 1 sample", "WorseImages": "5", "CaseImages": "222",
        "MostPairs": "10,000", "MostNoisyTargets": "25.92", "MostCleanTargets": "25.95",
        "MostTargetGap": r"\ensuremath{+0.026}", "FewestTargetGap": r"\ensuremath{+0.300}",
        "CurveEpochs": "2", "EstimateGap": "0.10", "FirstScale": "100", "LastScale": "300",
        "SmallestBatch": "8", "LargestBatch": "256",
        "EqualPairsSmallest": "20.01", "EqualPairsLargest": "20.26",
        "EqualPairsScaledSmallest": "20.51", "EqualPairsScaledLargest": "20.76",
        "EqualStepsSmallest": "21.01", "EqualStepsLargest": "21.26",
        "EqualStepsScaledSmallest": "21.51", "EqualStepsScaledLargest": "21.76",
        "OursFlops": "200", "PublishedFlops": "900", "OursThroughput": "400",
        "PublishedThroughput": "80", "PublishedParameters": "1.35",
        "ThroughputRatio": "5.0", "GridRate": r"\ensuremath{5 \times 10^{-3}}",
        "SpeedMachine": r"A\_B 100\%, 2 threads, PyTorch 2.0",
        "FirstDate": "2026-01-02", "LastDate": "2026-01-02",
        "BenchMachine": r"A\_B 100\%, 2 threads, PyTorch 2.0",
    }
    numbers = numbers_of(files, tmp_path)
    assert numbers | expected == numbers


def test_the_recipe_is_that_of_the_training(files, tmp_path):
    for name, rows in rows_of_ours(files).items():
        for row in rows:
            row["recipe"]["widths"] = [8, 16, 32]
            if name != "table1.jsonl":  # whose rates are of its own
                row["recipe"]["learning_rate"] *= 0.4
    numbers = numbers_of(files, tmp_path)
    assert numbers["Widths"] == "8, 16 and 32"
    assert numbers["Rate"] == r"\ensuremath{2 \times 10^{-3}}"


def test_ablations_are_lines_of_a_table(files, tmp_path):
    lines = numbers_of(files, tmp_path)["AblationRows"].split(r"\\")
    assert lines[0] == r"three levels & 25.10 & \ensuremath{+0.100} & 0.24 & 0.50 "
    assert [line.split("&")[0].strip() for line in lines] == [
        "three levels", "ours", "no self-ensemble", "MSE loss", ""]


def test_ablations_of_several_seeds_have_a_deviation(files, tmp_path):
    files["ablations.jsonl"] += [row | {"seed": 1} for row in files["ablations.jsonl"]]
    numbers = numbers_of(files, tmp_path)
    assert r"\ensuremath{-0.100 \pm 0.000}" in numbers["AblationRows"]


def test_few_pairs_have_what_leaving_out_a_field_changes(files, tmp_path):
    numbers = numbers_of(files, tmp_path)
    assert (numbers["FewPairs"], numbers["FewEpochs"]) == ("500", "40")
    assert numbers["WithoutTurns"] == r"\ensuremath{-0.500}"
    del files["few_pairs.jsonl"][2]
    with pytest.raises(ValueError, match="no weight decay"):
        numbers_of(files, tmp_path)


def test_the_published_study_is_lines_of_a_table(files, tmp_path):
    numbers = numbers_of(files, tmp_path)
    first, *_ = numbers["FindingRows"].split(r"\\")
    assert [cell.strip() for cell in first.split("&")] == [
        "MSE above L1", "+0.67", "+0.67", "+0.67"]
    assert r"rate \ensuremath{\times} 1 above \ensuremath{\times} 2" in numbers["FindingRows"]
    assert (numbers["GridManySteps"], numbers["GridFewSteps"]) == ("313", "79")
    assert numbers["GridSettings"] == "18"


def test_a_batch_that_was_not_trained_is_named(files, tmp_path):
    files["batches.jsonl"] = [row for row in files["batches.jsonl"]
                              if (row["recipe"]["batch"], row["pairs"]) != (256, BATCH_PAIRS)]
    with pytest.raises(ValueError, match="batches of 256 .* equal pairs"):
        numbers_of(files, tmp_path)


def test_a_noise_scale_without_a_gradient_is_refused(files, tmp_path):
    for row in files["noise_scale.jsonl"]:
        row["moments"][1]["gradient"] = -1.0
    with pytest.raises(ValueError, match="more seeds"):
        numbers_of(files, tmp_path)


def test_noise_without_clean_targets_is_refused(files, tmp_path):
    del files["noises.jsonl"][1]
    with pytest.raises(ValueError, match="noises.jsonl lacks gaussian"):
        numbers_of(files, tmp_path)


def test_each_macro_of_the_report_is_defined_and_each_number_used():
    report = ROOT / "report"
    used = set(re.findall(r"\\([A-Z][A-Za-z]+)", (report / "report.tex").read_text()))
    numbers = (report / "results/numbers.tex").read_text()
    assert used - {"Large"} == set(re.findall(r"\\newcommand\{\\([A-Za-z]+)\}", numbers))


def test_other_noise_has_a_line_for_each_kind(files, tmp_path):
    numbers = numbers_of(files, tmp_path)
    first, *_ = numbers["NoiseRows"].split(r"\\")
    assert [cell.strip() for cell in first.split("&")[1:]] == [
        "20.25", "25.50", "30.25", "30.50", "30.62"]
    assert (numbers["ClippedBias"], numbers["ClippedNoisyBias"]) == ("+1.3", "+1.5")


def test_a_time_that_was_not_measured_is_refused():
    rows = history(20.0, 25.0, minutes=1)
    assert psnr_after(62.0, rows) == 25.0
    with pytest.raises(ValueError, match="300"):
        psnr_after(300.0, rows)


@pytest.mark.parametrize("row, words", [
    (0, ["published", "minutes 10"]),
    (1, ["ours", "minutes 1"]),
    (2, ["ours", "epochs 10"]),
    (3, ["--weights"]),
    (4, ["ours", "minutes 5"]),
    (5, ["CAREamics", "minutes 5"]),
])
def test_a_missing_measurement_is_named(files, tmp_path, row, words):
    del files["trainings.jsonl"][row]
    with pytest.raises(ValueError) as refusal:
        numbers_of(files, tmp_path)
    for word in words:
        assert word in str(refusal.value)


def test_both_networks_need_a_speed(files, tmp_path):
    del files["speed.jsonl"][1]
    with pytest.raises(ValueError, match="speed.jsonl has no row of published"):
        numbers_of(files, tmp_path)


def test_figure_and_numbers_are_the_same_for_the_same_results(files, tmp_path):
    results, output = write(tmp_path / "measured", files), tmp_path / "report"
    written = []
    for _ in range(2):
        assert main(["--results", str(results), "-o", str(output)]) == 0
        paths = sorted(path for path in output.rglob("*") if path.is_file())
        written.append([path.read_bytes() for path in paths])
    assert [path.name for path in paths] == [
        "data.pdf", "grid.pdf", "network.pdf", "training.pdf", "numbers.tex"]
    assert written[0] == written[1] and written[0][0].startswith(b"%PDF")


def test_another_recipe_of_ours_is_drawn_if_told(files, tmp_path):
    files["scaling.jsonl"] = [row | {"recipe": recipe(momentum=0.5)}
                              for row in files["scaling.jsonl"]]
    results, output = write(tmp_path / "measured", files), tmp_path / "report"
    arguments = ["--results", str(results), "-o", str(output)]
    assert main(arguments) == 2 and not output.exists()
    assert main([*arguments, "--any-recipe"]) == 0


def test_nothing_is_written_without_results(files, tmp_path, capsys):
    assert main(["--results", str(tmp_path), "-o", str(tmp_path / "report")]) == 2
    assert next(iter(COMMANDS)) in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_several_seeds_are_averaged(files, tmp_path):
    rows = history(20.5, 25.34, 25.39, minutes=5)
    files["trainings.jsonl"].append(published(25.39, minutes=10, seed=1, history=rows))
    assert numbers_of(files, tmp_path)["PublishedLong"] == "25.29"


@pytest.mark.parametrize("value, text", [
    (2e-3, r"2 \times 10^{-3}"), (1e-4, "10^{-4}"), (150, r"1.5 \times 10^{2}")])
def test_scientific(value, text):
    assert scientific(value) == rf"\ensuremath{{{text}}}"
