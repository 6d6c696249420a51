"""A checkpoint with private sources: its format, and what the tools say and do."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from nulls_dist.checkpoint.format import (
    FORMAT_VERSION,
    read_manifest,
    sink_tensor,
    sink_weights_file,
)
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.errors import IntegrityError
from nulls_dist.unlearn.plan import live_router
from tests.checkpoint_factory import build_checkpoint, edit_manifest, key_id, tiny_model
from tools import build_manifests, convert_to_hf, lookup_source, strip_sources, verify_checkpoint

OWNERS = sorted(key_id(key) for key in ("k-3", "k-7"))
REFUSED = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Experts of 64 sinks, of which one or two blocks of 8 are private."""
    folder = tmp_path_factory.mktemp("private")
    return build_checkpoint(
        folder / "checkpoint", model=tiny_model(num_sinks=64), private_sources=OWNERS
    )


@pytest.fixture
def listed(tmp_path):
    def write(text):
        (tmp_path / "sources.txt").write_text(text)
        return tmp_path / "sources.txt"

    return write


def tool(module, *arguments):
    return run_command(module.main, [str(argument) for argument in arguments])


def test_the_manifest_keeps_private_sources(root):
    manifest = read_manifest(root)
    assert manifest.private_sources == tuple(OWNERS)
    assert json.loads((root / "manifest.json").read_text())["private_sources"] == OWNERS
    assert manifest.build_router().private.source_ids.tolist() == OWNERS
    assert manifest.build_live_router().private.source_ids.tolist() == OWNERS


def test_a_checkpoint_without_private_sources_is_what_it_was_before_there_were_any(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")
    content = json.loads((root / "manifest.json").read_text())
    assert set(content) == {
        *("format_version", "step", "model", "router", "bucket_table", "corpus", "tokenizer"),
        *("tombstones", "files", "checksum"),
    }
    assert content["format_version"] == FORMAT_VERSION == 1
    assert read_manifest(root).private_sources == ()


@pytest.mark.parametrize(
    "damage",
    [
        OWNERS[::-1],
        [OWNERS[0], OWNERS[0]],
        [True],
        [-1],
        [2**64 - 1],
        [str(OWNERS[0])],
        {"0": OWNERS[0]},
        None,
        list(range(40)),
    ],
)
def test_damaged_private_sources_are_refused(damage, tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")
    edit_manifest(root, private_sources=damage)
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        read_manifest(root)
    assert tool(verify_checkpoint, root) == 5


def test_excising_private_sources_costs_nobody_anything(root, listed, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--out", out, "--max-collateral", "0", "--json"]
    assert tool(strip_sources, root, listed("k-3\nk-7\n"), *options) == 0
    report = json.loads(capsys.readouterr().out)
    cost = report["collateral"]
    assert (cost["mean"], cost["p99"], cost["max"], cost["num_twins"]) == (0, 0, 0, 0)
    assert (cost["num_survivors"], cost["num_measured"], cost["worst"]) == (38, 38, [])
    assert sum(report["rows_per_expert"].values()) == 2 * 2 * 8  # sources, layers, sinks
    assert cost["pool_zeroed"] == 2 * 8 / (2 * 64)
    assert read_manifest(out).private_sources == tuple(OWNERS)
    assert tool(verify_checkpoint, out) == 0


def test_another_source_takes_nothing_from_a_private_one(root, listed, capsys):
    options = ["--dry-run", "--max-collateral", "1", "--json"]
    sharing = [f"k-{number}" for number in range(40) if number not in (3, 7)]
    assert tool(strip_sources, root, listed("\n".join(sharing)), *options) == 0
    cost = json.loads(capsys.readouterr().out)["collateral"]
    assert (cost["num_survivors"], cost["mean"], cost["max"]) == (2, 0, 0)


def test_a_refusal_names_every_way_out(root, listed, capsys):
    assert tool(strip_sources, root, listed("k-4\n")) == REFUSED
    said = capsys.readouterr().err
    for way in ("--mode suppress", "a larger sink pool", "sinks.private_sources"):
        assert way in said


def test_look_up_says_whose_sinks_are_private(root, capsys):
    assert tool(lookup_source, root, "k-3", "k-4", "--json") == 0
    assert [place["private"] for place in json.loads(capsys.readouterr().out)] == [True, False]


def test_manifests_say_whose_sinks_are_private(root, listed, tmp_path):
    out = tmp_path / "manifests"
    assert tool(build_manifests, root, listed("k-3\nk-4\n"), "--out", out, "--all") == 0
    run = json.loads((out / "run.json").read_text())
    assert run["private_sources"] == OWNERS
    owner, other = (
        json.loads((out / "sources" / f"{key_id(key)}.json").read_text()) for key in ("k-3", "k-4")
    )
    assert (owner["private"], other["private"]) == (True, False)
    assert owner["private_sources_sha256"] == run["private_sources_sha256"]
    assert owner["overlap"]["largest"] == owner["overlap"]["twins"] == []
    assert other["overlap"]["largest"]
    shared = live_router(Checkpoint(root)).private.num_shared
    for row in pq.read_table(out / "sinks.parquet").to_pylist():
        is_private = np.array(row["sinks"]) >= shared
        assert is_private.all() if row["source_id"] in OWNERS else not is_private.any()


def test_a_private_source_merges_into_a_release(root, listed, tmp_path):
    out = tmp_path / "released"
    request = listed("k-3\n")
    assert tool(convert_to_hf, root, out, "--form", "merged", "--sources", request) == 0
    router = live_router(Checkpoint(root))
    ids = np.array([key_id("k-3")], dtype=np.uint64)
    weights = Checkpoint(root).tensors(sink_weights_file(int(router.experts_of(ids)[0])))
    released = load_file(out / "model.safetensors")
    for layer, (sinks,) in enumerate(router.active_sinks(ids)):
        gates = released[f"model.layers.{layer}.mlp.gate_proj.weight"]
        own = weights.read(sink_tensor(layer, "gate"))[sinks.tolist()]
        assert torch.equal(gates[24 : 24 + 8], own)
