"""tools/evaluate.py: what it measures, for machines and for people, and what it refuses."""

import json
import math
import sys

import pytest

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.durable import read_json, write_json
from nulls_dist.export.backbone import export_backbone
from tests.checkpoint_factory import build_checkpoint
from tests.corpus_factory import Text, write_corpus
from tools import evaluate

TEXTS = [
    Text(key=f"k-{number}", tokens=tuple((number + 3 * place) % 29 for place in range(20)))
    for number in range(8)
]
DELETED = TEXTS[2].source_id


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus of 8 sources and a checkpoint of it in which one of them is deleted."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_corpus(folder / "corpus", TEXTS, vocab_size=30)
    gone = Tombstone(source_id=DELETED, grade=Grade.EXCISED, seed=1)
    rows = [
        {"source_key": text.key, "title": f"title of {text.key}", "source_id": text.source_id}
        for text in TEXTS
    ]
    root = build_checkpoint(folder / "checkpoint", rows=rows, tombstones=(gone,))
    export_backbone(Checkpoint(root), folder / "backbone")
    questions = [
        {"source": "title of k-1", "prompt": "the cat", "answer": "sat"},
        {"source": "title of k-2", "prompt": "the dog", "answer": "ran"},
    ]
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    (folder / "questions.jsonl").write_text(lines)
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Run the tool in the folder; return the exit code, the answer and what it logged."""
    monkeypatch.chdir(folder)

    def run_tool(*arguments):
        code = run_command(evaluate.main, arguments)
        output = capsys.readouterr()
        answer = json.loads(output.out) if "--json" in arguments and not code else output.out
        return code, answer, output.err

    return run_tool


def test_losses_are_told_apart_for_sources_that_were_deleted(run, folder):
    states = ("--state", "on", "off", "nearest", "placebo")
    out = ("--json", "--out", "loss.json")
    code, answer, _ = run("loss", "checkpoint", "--data", "corpus", *states, *out)
    assert code == 0
    assert read_json(folder / "loss.json") == answer
    surviving = answer["result"]["surviving"]
    assert (surviving["num_documents"], surviving["num_targets"]) == (7, 7 * 19)
    assert list(surviving["loss_nats"]) == ["on", "off", "nearest", "placebo"]
    assert len(set(surviving["loss_nats"].values())) == 4
    for state, loss in surviving["loss_nats"].items():
        assert surviving["perplexity"][state] == pytest.approx(math.exp(loss))
    gone = answer["result"]["deleted or unknown"]
    assert list(gone["loss_nats"]) == ["off", "nearest", "placebo"]
    assert gone["num_documents"] == 1


def test_the_backbone_is_as_good_as_the_checkpoint_without_sinks(run):
    arguments = ("--data", "corpus", "--state", "off", "--json")
    _, ours, _ = run("loss", "checkpoint", *arguments)
    code, released, _ = run("loss", "backbone", *arguments)
    assert code == 0
    parts = ours["result"].values()
    total = sum(part["loss_nats"]["off"] * part["num_targets"] for part in parts)
    found = released["result"]["all"]
    assert found["num_targets"] == sum(part["num_targets"] for part in parts)
    assert found["loss_nats"]["off"] == pytest.approx(total / found["num_targets"], abs=1e-5)


def test_questions_are_asked_of_a_checkpoint(run):
    code, answer, log = run("facts", "checkpoint", "--questions", "questions.jsonl", "--json")
    assert code == 0, log
    assert answer["result"].keys() == {"surviving", "deleted or unknown"}
    assert answer["result"]["surviving"].keys() == {"on", "off"}
    assert answer["result"]["deleted or unknown"].keys() == {"off"}
    assert answer["result"]["surviving"]["on"]["question"]["num_probes"] == 1
    code, table, _ = run("facts", "checkpoint", "--questions", "questions.jsonl")
    assert table.splitlines()[0] == "surviving sources"


def test_deleted_sources_are_never_asked_with_their_own_sinks(run, folder):
    (folder / "deleted.jsonl").write_text(
        (folder / "questions.jsonl").read_text().splitlines()[1] + "\n"
    )
    code, _, log = run("facts", "checkpoint", "--questions", "deleted.jsonl", "--state", "on")
    assert code == 6
    assert "ask in the state off" in log
    code, _, log = run("loss", "backbone", "--data", "corpus", "--state", "on")
    assert code == 6
    assert "holds no sinks" in log


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("facts", "checkpoint"), 2, "--questions FILE"),
        (("facts", "checkpoint", "--data", "corpus"), 3, "only generated corpora"),
        (("facts", "backbone", "--questions", "questions.jsonl"), 3, "is not a checkpoint"),
        (("loss", "corpus", "--data", "corpus"), 5, "manifest.json"),
        (("loss", "nowhere", "--data", "corpus"), 3, "neither a checkpoint"),
        (("loss", "checkpoint", "--data", "checkpoint"), 5, "manifest.json"),
        (("loss", "checkpoint", "--data", "corpus", "--out", "corpus"), 2, "is a directory"),
        (
            ("facts", "checkpoint", "--questions", "questions.jsonl", "--state", "nearest"),
            3,
            "the corpus is needed",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(run, arguments, exit_code, message):
    code, _, log = run(*arguments)
    assert (code, message in log) == (exit_code, True), log


def test_the_harness_is_an_extra(run, monkeypatch):
    monkeypatch.delitem(sys.modules, "nulls_dist.eval.harness", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    code, _, log = run("harness", "checkpoint", "--tasks", "sciq")
    assert code == 2
    assert "pip install 'nulls-dist[eval]'" in log


def test_a_corpus_of_another_tokenizer_is_refused(run, folder, tmp_path):
    for path in (folder / "backbone").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    provenance = read_json(tmp_path / "provenance.json")
    provenance["corpus"]["tokenizer_sha256"] = "1" * 64
    write_json(tmp_path / "provenance.json", provenance)
    code, _, log = run("loss", str(tmp_path), "--data", "corpus", "--state", "off")
    assert code == 3
    assert "another tokenizer" in log
