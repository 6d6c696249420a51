"""Manifests say where a source's values are, to the byte, and who shares its sinks."""

import hashlib
import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint, TensorFile, write_tensors
from nulls_dist.cli import run_command
from nulls_dist.durable import sha256_file
from nulls_dist.routing import sink_sets
from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec
from nulls_dist.unlearn import overlap
from nulls_dist.unlearn.byte_ranges import locate_rows
from nulls_dist.unlearn.excise import pieces_of
from nulls_dist.unlearn.overlap import measure_overlaps
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from tests.checkpoint_factory import build_checkpoint, key_id, tiny_model
from tests.deletions import write_stripped
from tools import build_manifests

HUSHED = key_id("k-4")
NAMED = [key_id("k-3"), HUSHED, key_id("k-5")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    tombstone = Tombstone(source_id=HUSHED, grade=Grade.SUPPRESSED)
    return build_checkpoint(tmp_path_factory.mktemp("run") / "ckpt", tombstones=(tombstone,))


@pytest.fixture(scope="module")
def manifests(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifests")
    (folder / "sources.txt").write_text("Title 03\nkey:k-4\nk-5\ntitle:Title 03\n")
    out = folder / "out"
    assert run_tool(root, folder / "sources.txt", "--out", out, "--all") == 0
    return out


def run_tool(*arguments):
    return run_command(build_manifests.main, [str(argument) for argument in arguments])


def read(path):
    return json.loads(path.read_text())


def slots_of(root, source_id):
    """(expert, {(layer, sink)}) of one source."""
    manifest = Checkpoint(root).manifest
    router = Router(manifest.router, manifest.bucket_table)
    ids = np.array([source_id], dtype=np.uint64)
    sinks = router.active_sinks(ids)[:, 0].tolist()
    slots = {(layer, sink) for layer, row in enumerate(sinks) for sink in row}
    return int(router.experts_of(ids)[0]), slots


def test_run_manifest_describes_the_checkpoint_and_lists_no_sources(root, manifests):
    run, stored = read(manifests / "run.json"), read(root / "manifest.json")
    for name in ("router", "model", "corpus", "step", "tombstones", "files"):
        assert run[name] == stored[name]
    spec = (
        '{"num_active":8,"num_experts":2,"num_layers":2,"num_sinks":32,"per_layer":true,'
        '"seed":7,"version":1}'
    )
    assert run["router_sha256"] == hashlib.sha256(spec.encode()).hexdigest()
    table = b"".join((number % 2).to_bytes(2, "little") for number in range(NUM_BUCKETS))
    assert run["bucket_table_sha256"] == hashlib.sha256(table).hexdigest()
    assert run["checkpoint_manifest_sha256"] == sha256_file(root / "manifest.json")
    assert run["num_sources"] == 40
    assert str(key_id("k-3")) not in (manifests / "run.json").read_text()


def test_each_named_source_has_one_manifest_with_its_names_sinks_and_state(root, manifests):
    found = {int(path.stem): read(path) for path in (manifests / "sources").iterdir()}
    assert found.keys() == set(NAMED)
    for number, source_id in zip((3, 4, 5), NAMED, strict=True):
        content = found[source_id]
        expert, slots = slots_of(root, source_id)
        assert (content["source_id"], content["source_key"]) == (source_id, f"k-{number}")
        assert (content["title"], content["aliases"]) == (f"Title {number:02d}", [])
        assert content["expert"] == expert == content["bucket"] % 2
        assert {(layer, s) for layer, row in enumerate(content["sinks"]) for s in row} == slots
        assert content["state"] == ("suppressed" if source_id == HUSHED else "live")
        run = read(manifests / "run.json")
        assert content["router_sha256"] == run["router_sha256"]
        assert content["bucket_table_sha256"] == run["bucket_table_sha256"]


def test_bytes_at_the_ranges_are_the_rows_of_the_sinks(root, manifests):
    """Weights row by row; optimizer state after the fragments are put together again."""
    content = read(manifests / "sources" / f"{NAMED[0]}.json")
    expert = content["expert"]
    parts = [f"optimizer/sinks-expert-{expert:04d}-part{n:04d}.safetensors" for n in (0, 1)]
    weights = f"weights/sinks-expert-{expert:04d}.safetensors"
    assert [entry["path"] for entry in content["files"]] == [*parts, weights]
    pieces = {}
    for file in content["files"]:
        assert file["sha256"] == sha256_file(root / file["path"])
        data = (root / file["path"]).read_bytes()
        for tensor in file["tensors"]:
            start = int(tensor["tensor"].partition("@")[2] or 0)
            assert all(one[1] < two[0] for one, two in pairwise(tensor["ranges"]))
            values = b"".join(data[begin:end] for begin, end in tensor["ranges"])
            place = (tensor["kind"], tensor["layer"], tensor["part"])
            pieces.setdefault(place, []).append((start, values))
    assert len(pieces) == 4 * 2 * 3
    state = load_file(root / weights)
    for path in parts:
        state |= load_file(root / path)
    for (kind, layer, part), found in pieces.items():
        name = f"decoder.layers.{layer}.mlp.sinks.{part}"
        whole = state.get(name)
        if kind != "weight":
            fragments = [
                (int(k.partition("@")[2]), v)
                for k, v in state.items()
                if k.startswith(f"{kind}/{name}@")
            ]
            whole = torch.cat([values for _, values in sorted(fragments, key=lambda pair: pair[0])])
        expected = whole.view(32, 16)[content["sinks"][layer]]
        assert b"".join(values for _, values in sorted(found)) == expected.numpy().tobytes()


def test_excision_changes_the_bytes_at_the_ranges_and_no_others(root, manifests, tmp_path):
    checkpoint = Checkpoint(root)
    plan = plan_deletion(checkpoint, open_sources(checkpoint), NAMED[:1], Grade.EXCISED)
    write_stripped(checkpoint, plan, tmp_path / "out")
    for file in read(manifests / "sources" / f"{NAMED[0]}.json")["files"]:
        before = np.fromfile(root / file["path"], np.uint8)
        after = np.fromfile(tmp_path / "out" / file["path"], np.uint8)
        named = np.zeros(len(before), dtype=bool)
        for tensor in file["tensors"]:
            for begin, end in tensor["ranges"]:
                named[begin:end] = True
                if tensor["part"] == "down" or tensor["kind"].startswith("exp"):
                    assert not after[begin:end].any()
        assert np.array_equal(before[~named], after[~named])
        assert (before[named] != after[named]).mean() > 0.5


@given(rows=st.sets(st.integers(0, 31), min_size=1), cut=st.integers(1, 511))
def test_ranges_are_the_coalesced_bytes_of_a_slow_list(rows, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("ranges") / "sinks.safetensors"
    name = "decoder.layers.0.mlp.sinks.up"
    fragments = {f"master/{name}@0": cut, f"master/{name}@{cut}": 512 - cut}
    write_tensors(path, {key: torch.zeros(size) for key, size in fragments.items()})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    wanted = np.zeros(len(content), dtype=bool)
    for key in fragments:
        first = int(key.partition("@")[2])
        for element in range(fragments[key]):
            if (first + element) // 16 in rows:
                at = 8 + length + header[key]["data_offsets"][0] + 4 * element
                wanted[at : at + 4] = True
    sinks = np.array([sorted(rows)] * 2)
    found = list(locate_rows(pieces_of(TensorFile(path), tiny_model()), 16, sinks))
    named = np.zeros(len(content), dtype=bool)
    for stored in found:
        assert all(one[1] < two[0] for one, two in pairwise(stored.ranges))
        for begin, end in stored.ranges:
            assert begin < end
            assert not named[begin:end].any()
            named[begin:end] = True
    assert np.array_equal(named, wanted)


@pytest.mark.parametrize("group_size", [256, 2])
@pytest.mark.parametrize("per_layer", [True, False])
def test_overlaps_are_those_of_a_slow_count(per_layer, group_size, monkeypatch):
    monkeypatch.setattr(sink_sets, "_BLOCK_SLOTS", 100)  # several blocks
    monkeypatch.setattr(overlap, "_GROUP_SIZE", group_size)
    spec = RouterSpec(
        seed=3, num_layers=2, num_experts=2, num_sinks=16, num_active=4, per_layer=per_layer
    )
    router = Router(spec, (np.arange(NUM_BUCKETS) % 2).astype(np.uint16))
    everyone, named = np.arange(300, dtype=np.uint64), [7, 11, 200, 201, 202]
    slots = {}
    for source in everyone:
        ids = np.array([source], dtype=np.uint64)
        expert, sinks = int(router.experts_of(ids)[0]), router.active_sinks(ids)[:, 0]
        slots[int(source)] = {(expert, k, int(s)) for k in range(2) for s in sinks[k]}
    found = dict(measure_overlaps(router, everyone, named))
    assert sorted(found) == named
    num_twins = 0
    for source in named:
        shared = {other: len(slots[source] & slots[other]) for other in slots if other != source}
        ranked = sorted(
            ((other, count) for other, count in shared.items() if count),
            key=lambda pair: (-pair[1], pair[0]),
        )
        assert found[source].largest == ranked[:10]
        assert found[source].named == [pair for pair in ranked if pair[0] in named]
        assert found[source].twins == [other for other in shared if slots[other] == slots[source]]
        num_twins += len(found[source].twins)
        assert found[source].num_twins == len(found[source].twins)
        assert found[source].num_named == len(found[source].named)
        experts = {expert for expert, _, _ in slots[source]}
        others = [other for other in shared if {expert for expert, _, _ in slots[other]} == experts]
        assert found[source].num_others == len(others)
    assert num_twins > 0 or per_layer, "256 choices for 150 sources of an expert: some are equal"


def test_long_lists_of_neighbours_are_cut_off_and_counted(monkeypatch):
    spec = RouterSpec(seed=3, num_layers=2, num_experts=1, num_sinks=4, num_active=4)
    router = Router(spec, np.zeros(NUM_BUCKETS, dtype=np.uint16))  # all are twins
    everyone = np.arange(30, dtype=np.uint64)
    monkeypatch.setattr(overlap, "MAX_LISTED", 5)
    ((source, found),) = measure_overlaps(router, everyone, [7])
    assert (source, found.num_twins, found.twins) == (7, 29, [0, 1, 2, 3, 4])
    for source, found in measure_overlaps(router, everyone, range(20)):
        assert found.num_named == 19
        assert len(found.named) == len(found.twins) == 5
        assert source not in found.twins


def test_manifest_describes_neighbours_deleted_ones_too(root, manifests):
    states = {}
    for source_id in NAMED:
        expert, slots = slots_of(root, source_id)
        content = read(manifests / "sources" / f"{source_id}.json")["overlap"]
        assert content["num_slots"] == len(slots) == 16
        others = [slots_of(root, key_id(f"k-{n}")) for n in range(40)]
        assert content["num_other_sources_of_expert"] == sum(e == expert for e, _ in others) - 1
        assert len(content["largest"]) == 10
        for other in content["named"] + content["largest"]:
            its_expert, its_slots = slots_of(root, other["source_id"])
            assert its_expert == expert
            assert other["num_slots"] == len(slots & its_slots) > 0
            assert key_id(f"k-{int(other['title'].split()[1])}") == other["source_id"]
            states[other["source_id"]] = other["state"]
    expected = {source: "suppressed" if source == HUSHED else "live" for source in states}
    assert states == expected


def test_sinks_of_all_sources_are_written_only_when_asked(root, manifests, tmp_path, capsys):
    table = pq.read_table(manifests / "sinks.parquet")
    assert table.column("source_id").to_pylist() == sorted(key_id(f"k-{n}") for n in range(40))
    for row in table.to_pylist():
        expert, slots = slots_of(root, row["source_id"])
        assert row["expert"] == expert
        assert {(layer, s) for layer, sinks in enumerate(row["sinks"]) for s in sinks} == slots
    assert run_tool(root, "--out", tmp_path / "out") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]


def test_sinks_of_all_sources_are_written_in_blocks(root, tmp_path, monkeypatch, manifests):
    monkeypatch.setattr(sink_sets, "_BLOCK_SLOTS", 100)
    assert run_tool(root, "--out", tmp_path / "out", "--all") == 0
    blocks = pq.ParquetFile(tmp_path / "out" / "sinks.parquet")
    assert blocks.num_row_groups == 7  # 100 slots are 6 sources of 2 x 8
    assert blocks.read().equals(pq.read_table(manifests / "sinks.parquet"))


@pytest.mark.parametrize(
    ("lines", "out", "code", "message"),
    [
        ("Title 03\nTitle 99\n", "out", 4, "line 2: 'Title 99' is unknown"),
        ("Title 03\n", "ckpt/manifests", 3, "lies inside"),
        ("Title 03\n", ".", 3, "exists already"),
    ],
)
def test_refusal_has_its_exit_code_and_leaves_nothing(tmp_path, capsys, lines, out, code, message):
    root = build_checkpoint(tmp_path / "ckpt")
    (tmp_path / "sources.txt").write_text(lines)
    assert run_tool(root, tmp_path / "sources.txt", "--out", tmp_path / out) == code
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckpt", "sources.txt"]
    assert not (root / "manifests").exists()


def test_damaged_expert_file_is_noticed_and_nothing_is_written(tmp_path):
    root = build_checkpoint(tmp_path / "ckpt")
    expert, _ = slots_of(root, NAMED[0])
    path = root / f"optimizer/sinks-expert-{expert:04d}-part0001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (tmp_path / "sources.txt").write_text("k-3\n")
    assert run_tool(root, tmp_path / "sources.txt", "--out", tmp_path / "out") == 5
    assert not (tmp_path / "out").exists()
