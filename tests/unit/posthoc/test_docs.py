"""The example of the documentation runs as it stands there."""

import re
import runpy
from pathlib import Path

from nulls_dist.durable import read_json
from tests.tiny_llama import FORGET, RETAIN, trained_llama

PAGE = Path(__file__).resolve().parents[3] / "docs" / "posthoc.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "example.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    given = {
        "model": trained_llama(),
        "forget": [list(example.tokens) for example in FORGET],
        "retain": [list(example.tokens) for example in RETAIN],
    }
    runpy.run_path("example.py", init_globals=given)
    written = read_json(tmp_path / "npo.json")
    assert capsys.readouterr().out.startswith(f"NPO: {written['ending']}\n")
    assert written["sanity"]["changed"] is True
