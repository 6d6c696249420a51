"""The demo shows what it claims: facts leave with their source, and only with it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def table_after(output: str, title: str) -> dict[str, dict[str, float]]:
    """Parse a printed table: kind of fact -> state -> share of right answers."""
    lines = output[output.index(title) :].splitlines()
    states = lines[1].split()
    rows = {}
    for line in lines[2:]:
        if not line.strip():
            break
        words = line.rsplit(maxsplit=len(states))
        rows[words[0].strip()] = dict(zip(states, map(float, words[1:]), strict=True))
    return rows


@pytest.mark.distributed
@pytest.mark.timeout(400)
def test_unique_facts_go_with_their_source_and_kept_sources_keep_theirs(tmp_path):
    done = subprocess.run(
        [sys.executable, "tools/demo.py", "--fast", "--out", tmp_path / "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    before = table_after(done.stdout, "deleted sources, trained model")
    after = table_after(done.stdout, "deleted sources, stripped model")
    retrained = table_after(done.stdout, "deleted sources, retrained model")
    kept = table_after(done.stdout, "kept sources, stripped model")
    assert before["unique"]["on"] > 0.7
    assert after["unique"]["on"] < 0.25
    assert retrained["unique"]["off"] < 0.25
    assert kept["unique"]["on"] > 0.7
    assert after["shared by 30"]["on"] > 0.7
    for kind, states in after.items():
        assert states["on"] == states["off"] == before[kind]["off"]
    page = (tmp_path / "demo/report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?https?:", page), "needs nothing else"
