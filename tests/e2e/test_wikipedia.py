"""The main job on real input: a dump, a corpus, a model, a deletion, a release."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch import pretrain_arguments, start_torchrun

ROOT = Path(__file__).resolve().parents[2]
DUMP = "dump/enwiki-excerpt-multistream.xml.bz2"
STEPS = 20

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(300)]


def run(*words: object, expected: int = 0) -> str:
    """Run one of the project's commands from the repository root; return its standard output."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wikipedia")


@pytest.fixture(scope="module")
def corpus(test_data, folder):
    out = folder / "corpus"
    build = ("-m", "data_prep.build", "--input", test_data / DUMP, "--format", "wikipedia")
    run(*build, "--tokenizer", "train:bpe:4000", "--workers", 2, "--out", out)
    run("-m", "data_prep.verify", out)
    return out


@pytest.fixture(scope="module")
def checkpoint(corpus, folder):
    settings = {"train.steps": STEPS, "train.save_every": STEPS, "train.eval_every": STEPS}
    arguments = pretrain_arguments(corpus, folder / "run", settings)
    start_torchrun(arguments, num_processes=2).wait()
    return folder / f"run/checkpoints/step-{STEPS:08d}"


@pytest.fixture(scope="module")
def stripped(checkpoint, folder):
    request, out = folder / "sources.txt", folder / "stripped"
    request.write_text("Alabama\n")
    text = run("tools/strip_sources.py", checkpoint, request, "--out", out, "--json")
    report = json.loads(text)
    assert report["num_deleted"] == 1
    assert [line["title"] for line in report["lines"]] == ["Alabama"]
    run("tools/verify_checkpoint.py", out)
    return out


def test_every_article_of_the_excerpt_is_a_source_and_redirects_are_aliases(corpus):
    manifest = json.loads((corpus / "manifest.json").read_text())
    assert manifest["corpus"] == "enwiki"
    assert manifest["num_sources"] == manifest["num_documents"] == 88
    (place,) = json.loads(run("tools/lookup_source.py", corpus, "Alabama", "--json"))
    assert place["source_key"] == "303"


def test_training_by_two_processes_learns_and_evaluates_in_all_states(checkpoint):
    lines = (checkpoint.parents[1] / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    assert [line["step"] for line in metrics] == list(range(1, STEPS + 1))
    assert metrics[-1]["train/loss_nats"] < metrics[0]["train/loss_nats"] - 0.3
    for state in ("on", "off", "placebo"):
        assert 0 < metrics[-1][f"eval/loss_{state}_nats"] < metrics[0]["train/loss_nats"]


def test_a_run_that_continues_refuses_the_deleted_article(corpus, stripped, folder):
    arguments = pretrain_arguments(corpus, folder / "again", {}, "--resume", str(stripped))
    run("-m", "nulls_dist.pretrain", *arguments, expected=6)


def test_the_released_backbone_loads_without_remote_code_and_equals_ours(stripped, folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.data.format import TokenizerRecord
    from nulls_dist.data.tokenizer import load_tokenizer
    from nulls_dist.eval.inference import load_for_inference
    from nulls_dist.sources import NO_SOURCE

    release = folder / "release"
    run("tools/convert_to_hf.py", stripped, release, "--form", "backbone")
    model = AutoModelForCausalLM.from_pretrained(release, local_files_only=True)
    assert type(model) is LlamaForCausalLM
    tokenizer = AutoTokenizer.from_pretrained(release, local_files_only=True)
    text = (
        "Alabama is a state in the southeastern region of the United States (1819).\n\u00e9\u6f22"
    )
    record = TokenizerRecord(**Checkpoint(stripped).manifest.tokenizer)
    ids = load_tokenizer(stripped, record).encode(text)
    assert tokenizer(text)["input_ids"] == ids
    with load_for_inference(stripped) as ours:
        (expected,) = ours.logits([ids], [NO_SOURCE])
    with torch.no_grad():
        found = model(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
