"""CAREamics beside ours: it lives in an environment of its own."""

import sys

from Miniproject_1.others.datasets import build
from Miniproject_1.others.study.careamics_training import main


def test_where_it_is_missing_one_line_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "careamics", None)  # whose import fails then
    build(tmp_path, pairs=128, validation=1, progress=False)
    results = tmp_path / "rows.jsonl"
    assert main(["-d", str(tmp_path), "--results", str(results)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "careamics.txt" in line and not results.exists()
