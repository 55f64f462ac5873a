"""Results files, and the checksum that names their data."""

import hashlib
import json
import math

import pytest
import torch

from Miniproject_1.others import results
from Miniproject_1.others.results import (
    append_results,
    checksum,
    circumstances,
    read_results,
    write_results,
)


def test_a_written_result_is_read_with_its_circumstances(tmp_path):
    path = tmp_path / "result.json"
    write_results(path, 3, {"psnr": 25.5, "rows": [1, 2]})
    (row,) = read_results(path)
    assert (row["seed"], row["psnr"], row["rows"]) == (3, 25.5, [1, 2])
    assert row["torch"] == torch.__version__ and row["threads"] == torch.get_num_threads()


def test_appended_results_are_read_in_their_order(tmp_path):
    path = tmp_path / "results.jsonl"
    for psnr in (25, 26):
        append_results(path, {"psnr": psnr})
    assert [row["psnr"] for row in read_results(path)] == [25, 26]


def test_circumstances_name_the_processor():
    assert circumstances()["processor"]


def test_processors_that_share_a_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # else it names the GPU
    names = []
    for family in (25, 26):
        path = tmp_path / f"{family}"
        path.write_text(f"processor\t: 0\nmodel name\t: AMD EPYC\ncpu family\t: {family}\n\n")
        monkeypatch.setattr(results, "CPU_INFO", path)
        names.append(circumstances()["processor"])
    assert "AMD EPYC" in names[0] and "25" in names[0] and "26" in names[1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_becomes_null(tmp_path, value):
    write_results(tmp_path / "result.json", 0, {"psnr": value})
    assert json.loads((tmp_path / "result.json").read_text())["psnr"] is None


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"psnr": 1}\n\n{"psnr":\n')
    with pytest.raises(ValueError, match=r"results.jsonl.*\b3\b"):
        read_results(path)


def test_a_damaged_result_is_named(tmp_path):
    path = tmp_path / "result.json"
    path.write_text('{\n"psnr": 1,\n"seed" 2}')
    with pytest.raises(ValueError, match=r"result.json.*\b3\b"):
        read_results(path)


@pytest.mark.parametrize("content", [b"[1, 2]", b"\xff\xfe"])
def test_files_without_results_are_named(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="result.json"):
        read_results(path)


def test_files_of_another_kind_are_named(tmp_path):
    with pytest.raises(ValueError, match="result.txt"):
        read_results(tmp_path / "result.txt")


# ---- checksum ----------------------------------------------------------------------------------


def test_the_checksum_is_of_dtype_shape_and_bytes():
    image = torch.arange(6, dtype=torch.uint8).view(2, 3)
    expected = hashlib.sha256(b"torch.uint8 (2, 3) " + bytes(range(6))).hexdigest()[:12]
    assert checksum(image) == expected


@pytest.mark.parametrize(
    "other",
    [
        (torch.zeros(2, 3, dtype=torch.int32),),
        (torch.zeros(3, 2),),
        (torch.zeros(2, 3), torch.zeros(0)),
        (torch.tensor([[0, 0, 0], [0, 0, 1.0]]),),
        (),
    ],
)
def test_other_data_have_another_checksum(other):
    assert checksum(*other) != checksum(torch.zeros(2, 3))


def test_the_checksum_is_of_the_values_and_not_of_their_place_in_memory():
    image = torch.arange(24.0).view(2, 3, 4)
    assert checksum(image.transpose(0, 2)) == checksum(image.transpose(0, 2).contiguous())
