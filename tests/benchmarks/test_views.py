"""The benchmark of views: what it counts in a few lines."""

from __future__ import annotations

import json
import subprocess
import sys


def test_shares_and_costs(repository, tmp_path):
    rows = [
        {"prompt": "How do I make tea?", "response": "Boil the water. Add the leaves."},
        {"prompt": "How do I make tea?", "response": "Obvy gur jngre. Nqq gur yrnirf."},
        {"prompt": None, "response": "safe " * 100},
    ]
    lines, text = tmp_path / "rows.jsonl", tmp_path / "note.md"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text.write_text("An honest note.")
    found = tmp_path / "out" / "views.json"
    command = [sys.executable, str(repository / "benchmarks" / "views.py"), str(lines), str(text), "--json", str(found)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    jsonl, note, everything = json.loads(found.read_text())
    assert [jsonl[name] for name in ("texts", "with_views", "degenerate")] == [4, 1, 1]
    assert "'Boil" in jsonl["views"][0] or "Boil" in ran.stdout
    assert jsonl["reasons"][0][0] == "repetition"
    assert [note[name] for name in ("texts", "with_views", "degenerate")] == [1, 0, 0]
    assert [everything[name] for name in ("texts", "with_views", "degenerate")] == [5, 1, 1]
    assert everything["views_microseconds"] > 0
    assert "1 (20.00%)" in ran.stdout
