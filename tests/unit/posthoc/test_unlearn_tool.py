"""The command line: a folder and texts in, a folder and a record out."""

import json
import shutil

import pytest
import torch

from nulls_dist.cli import run_command
from nulls_dist.durable import read_json
from nulls_dist.posthoc.catalogue import CATALOGUE
from nulls_dist.posthoc.folders import RECORD_FILE
from nulls_dist.posthoc.hook_files import HOOK_FILE, load_hook
from tests.checkpoint_factory import build_checkpoint, model_without_sinks
from tests.hf_folder import build_folder, forget_lines, retain_lines, write_jsonl
from tools.unlearn_posthoc import build_parser, main

BUDGET = ("--steps=4", "--learning-rate=1e-2", "--evaluate-every=2", "--prompt-tokens=4")
KEEPING = {"eco", "logit-difference"}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a trained model and files of texts."""
    root = tmp_path_factory.mktemp("given")
    build_folder(root / "model")
    write_jsonl(root / "forget.jsonl", forget_lines())
    write_jsonl(root / "retain.jsonl", retain_lines())
    (root / "unseen.txt").write_text("Zyx wv uts, rqp onm.")
    return root


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def unlearn(given, out, method, *words, model=None):
    command = [model or given / "model", "--method", method, "--out", out, *BUDGET, *words]
    files = [f"--{name}={given / name}.jsonl" for name in ("forget", "retain")]
    with torch.random.fork_rng(devices=[]):
        return run_command(main, list(map(str, [*command, *files])))


def load(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def digest(record, when):
    return record["model"][f"weights_sha256_{when}"]


@pytest.mark.parametrize("method", CATALOGUE)
def test_every_method_goes_from_folder_to_folder(given, tmp_path, method):
    extra = {"sga": ["--set", "threshold=0.1"], "tau": ["--set", "threshold=0.1"]}
    stop = ["--stop", "forget/accuracy=-1"]  # never met: strengths need a rule to choose by
    assert unlearn(given, tmp_path / "out", method, *stop, *extra.get(method, [])) == 0
    record = read_json(tmp_path / "out" / RECORD_FILE)
    assert record["method"]["name"] == CATALOGUE[method].method.name
    assert record["sanity"]["changed"] is True
    assert record["cost"]["seconds"] > 0
    assert set(record["inputs"]["forget"]) == {"path", "sha256"}
    assert record["command"][:1] == ["tools/unlearn_posthoc.py"]
    base = load(given / "model")
    if method in KEEPING:
        assert digest(record, "before") == digest(record, "after")
        assert not (tmp_path / "out" / "model.safetensors").exists()
        assert (load_hook(tmp_path / "out", base)) is not base
    else:
        assert not (tmp_path / "out" / HOOK_FILE).exists()
        unlearned = load(tmp_path / "out")
        same = [
            torch.equal(one, other)
            for one, other in zip(unlearned.parameters(), base.parameters(), strict=True)
        ]
        assert not all(same)
        assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_the_same_command_gives_the_same_weights(given, tmp_path, capsys):
    records = []
    for name in ("one", "two"):
        assert unlearn(given, tmp_path / name, "npo", "--json") == 0
        records.append(json.loads(capsys.readouterr().out))
        assert records[-1] == read_json(tmp_path / name / RECORD_FILE)
    assert (
        digest(records[0], "after") == digest(records[1], "after") != digest(records[0], "before")
    )
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_unseen_texts_say_where_to_stop(given, tmp_path):
    words = ("--unseen", given / "unseen.txt", "--steps=200")
    assert unlearn(given, tmp_path / "out", "gradient-ascent", *words) == 0
    record = read_json(tmp_path / "out" / RECORD_FILE)
    rule, last = record["plan"]["stop"], record["evaluations"][-1]
    assert record["ending"] == "the stop rule was met"
    assert rule["score"] == "forget/accuracy"
    assert last["scores"]["forget/accuracy"] <= rule["at_most"] < 0.5
    assert record["evaluations"][0]["scores"]["forget/accuracy"] > 0.5
    assert unlearn(given, tmp_path / "sga", "sga", "--unseen", given / "unseen.txt") == 0
    record = read_json(tmp_path / "sga" / RECORD_FILE)
    assert record["plan"]["stop"] is None
    assert record["method"]["settings"]["threshold"] == rule["at_most"]


@pytest.mark.parametrize(
    ("method", "words", "code", "message"),
    [
        ("npoo", (), 2, "did you mean npo"),
        ("npo", ("--stop", "nothing"), 2, "must have the form SCORE=VALUE"),
        ("task-vector", (), 2, "give plan.stop a rule, or give one strength"),
        ("sga", (), 2, "by --unseen FILE, or the share itself by --set threshold=SHARE"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    given, tmp_path, capsys, method, words, code, message
):
    assert unlearn(given, tmp_path / "out", method, *words) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_used_are_refused(given, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert unlearn(given, tmp_path / "out", "npo", model=tmp_path / "empty") == 3
    assert "neither a Hugging Face folder" in capsys.readouterr().err
    assert unlearn(given, tmp_path / "empty", "npo") == 3
    assert "never overwritten" in capsys.readouterr().err
    sinks = build_checkpoint(tmp_path / "checkpoint")
    assert unlearn(given, tmp_path / "out", "npo", model=sinks) == 3
    assert "has sinks" in capsys.readouterr().err
    bare = tmp_path / "bare"
    shutil.copytree(given / "model", bare, ignore=shutil.ignore_patterns("*token*"))
    assert unlearn(given, tmp_path / "out", "npo", model=bare) == 3
    (error,) = capsys.readouterr().err.splitlines()[-1:]
    assert f"{bare}: transformers cannot load its tokenizer" in error
    assert "no code of its own" in error
    command = [given / "model", "--method", "npo", "--forget", given / "forget.jsonl"]
    assert run_command(main, list(map(str, [*command, "--out", tmp_path / "out"]))) == 3
    assert "give --retain FILE" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dense_checkpoint_becomes_an_unlearned_folder(given, tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint", model=model_without_sinks())
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert unlearn(given, tmp_path / "out", "npo", "--max-tokens=64", model=root) == 0
    record = read_json(tmp_path / "out" / RECORD_FILE)
    assert digest(record, "before") != digest(record, "after")
    assert load(tmp_path / "out").config.model_type == "llama"
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_list_names_every_method_with_its_needs(capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["--list"])
    assert not ended.value.code
    listed = capsys.readouterr().out
    for key, entry in CATALOGUE.items():
        assert f"{key} " in listed
        assert all(need.value in listed for need in entry.needs)
