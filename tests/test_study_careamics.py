"""CAREamics beside ours: it lives in an environment of its own."""

import importlib.util

import pytest

from Miniproject_1.others.datasets import build
from Miniproject_1.others.study.careamics_training import main


@pytest.mark.skipif(importlib.util.find_spec("careamics") is not None, reason="it is installed")
def test_where_it_is_missing_one_line_says_how_to_get_it(tmp_path, capsys):
    build(tmp_path, pairs=128, validation=1, progress=False)
    results = tmp_path / "rows.jsonl"
    assert main(["-d", str(tmp_path), "--results", str(results)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "careamics.txt" in line and not results.exists()
