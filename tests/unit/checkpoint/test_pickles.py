"""A pickle in the place of any file of a checkpoint is refused by its readers, never executed."""

import io
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from nulls_dist.cli import run_command
from nulls_dist.durable import record_file, sha256_file
from tests.checkpoint_factory import build_checkpoint, edit_manifest
from tools import build_manifests, convert_to_hf, lookup_source, strip_sources, verify_checkpoint

REFUSED = (3, 5)


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def plain_pickle(canary):
    return pickle.dumps({"weight": canary})


def torch_archive(canary):
    content = io.BytesIO()
    torch.save({"weight": canary}, content)
    return content.getvalue()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("pristine") / "checkpoint")


def reseal(root, name):
    """Record a changed file anew, as whoever swapped it would."""
    content = json.loads((root / "manifest.json").read_text())
    for record in content["files"]:
        if record["path"] == name:
            record.update(num_bytes=record_file(root, name).num_bytes)
            record.update(sha256=sha256_file(root / name))
    if content["tokenizer"]["file"] == name:
        content["tokenizer"]["sha256"] = sha256_file(root / name)
    edit_manifest(root, files=content["files"], tokenizer=content["tokenizer"])


SINKS = "weights/sinks-expert-0000.safetensors"
STATE = "optimizer/sinks-expert-0000-part0000.safetensors"
READERS = {
    "manifest.json": {"verify", "strip", "describe", "backbone", "merged", "look up"},
    "run.json": {"verify", "strip"},
    "data.json": {"verify"},
    "sources.parquet": {"verify", "strip", "describe", "backbone", "merged", "look up"},
    "tokenizer/tokenizer.json": {"verify", "backbone", "merged"},
    "weights/backbone-part0000.safetensors": {"verify", "backbone", "merged"},
    SINKS: {"verify", "strip", "describe", "merged"},
    "optimizer/backbone-part0000.safetensors": {"verify"},
    STATE: {"verify", "strip", "describe"},
}
"""Which tools read what of each file; the others link it or leave it."""


@pytest.mark.parametrize("name", READERS)
def test_a_disguised_pickle_is_refused_and_runs_nothing(pristine, tmp_path, name):
    disguise = torch_archive if name.endswith(".safetensors") else plain_pickle
    root = shutil.copytree(pristine, tmp_path / "checkpoint")
    canary = tmp_path / "canary"
    (root / name).write_bytes(disguise(Canary(canary)))
    if name != "manifest.json":
        reseal(root, name)
    sources = tmp_path / "sources.txt"
    sources.write_text("Title 03\n")  # a source of expert 0
    out = tmp_path / "out"
    commands = {
        "verify": (verify_checkpoint, root),
        "strip": (strip_sources, root, sources, "--out", out, "--max-collateral", 1),
        "describe": (build_manifests, root, sources, "--out", out),
        "backbone": (convert_to_hf, root, out, "--form", "backbone"),
        "merged": (convert_to_hf, root, out, "--form", "merged", "--sources", sources),
        "look up": (lookup_source, root, "Title 03"),
    }
    codes = {}
    for command, (tool, *arguments) in commands.items():
        codes[command] = run_command(tool.main, list(map(str, arguments)))
        assert out.exists() == (codes[command] == 0 and str(out) in map(str, arguments))
        shutil.rmtree(out, ignore_errors=True)
    assert {command for command, code in codes.items() if code in REFUSED} == READERS[name]
    assert {code for command, code in codes.items() if command not in READERS[name]} <= {0}
    assert not canary.exists()


def test_the_canary_sings(tmp_path):
    pickle.loads(plain_pickle(Canary(tmp_path / "one")))  # noqa: S301
    torch.load(io.BytesIO(torch_archive(Canary(tmp_path / "two"))), weights_only=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
