"""A damaged checkpoint is refused before any of its tensors is used, and nothing is written."""

import hashlib
import json
import os
import random
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file

from nulls_dist.checkpoint.store import Checkpoint, write_tensors
from nulls_dist.cli import run_command
from nulls_dist.errors import IntegrityError
from tests.checkpoint_factory import build_checkpoint, edit_manifest
from tools import convert_to_hf, strip_sources, verify_checkpoint

FILES = [
    "manifest.json",
    "data.json",
    "run.json",
    "sources.parquet",
    "tokenizer/tokenizer.json",
    "weights/backbone-part0000.safetensors",
    "weights/sinks-expert-0000.safetensors",
    "weights/sinks-expert-0001.safetensors",
    "optimizer/backbone-part0001.safetensors",
    "optimizer/sinks-expert-0000-part0000.safetensors",
    "optimizer/sinks-expert-0001-part0001.safetensors",
]
CONCERNED = [name for name in FILES if "expert-0000" in name]
CONCERNED += ["manifest.json", "sources.parquet", "run.json"]
RELEASED = ["manifest.json", "sources.parquet", "tokenizer/tokenizer.json", FILES[5]]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("pristine") / "checkpoint")


@pytest.fixture
def root(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "checkpoint")


def verify(root):
    return run_command(verify_checkpoint.main, [str(root)])


def strip(root):
    request = root.parent / "sources.txt"
    request.write_text("Title 03\n")  # a source of expert 0
    options = ["--out", str(root.parent / "out"), "--max-collateral", "1"]
    code = run_command(strip_sources.main, [str(root), str(request), *options])
    assert (code == 0) == (root.parent / "out").exists()
    return code


def convert(root):
    out = root.parent / "released"
    code = run_command(convert_to_hf.main, [str(root), str(out), "--form", "backbone"])
    assert (code == 0) == out.exists()
    return code


def flip_bit(path, place):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << (place % 8)
    path.write_bytes(content)


def test_undamaged_checkpoint_passes_all_tools(root):
    assert (verify(root), strip(root), convert(root)) == (0, 0, 0)


@pytest.mark.parametrize("name", FILES[1:])
def test_any_flipped_bit_is_found_and_the_file_named(root, name, capsys):
    size = (root / name).stat().st_size
    places = random.Random(name).sample(range(size), min(20, size - 1))
    for place in [0, size - 1, *places]:
        flip_bit(root / name, place)
        with pytest.raises(IntegrityError, match=name):
            list(Checkpoint(root).verify())
        flip_bit(root / name, place)
    flip_bit(root / name, size // 2)
    assert verify(root) == 5
    assert name in capsys.readouterr().err
    for tool, used in ((strip, CONCERNED), (convert, RELEASED)):
        assert tool(root) == (5 if name in used else 0)


def test_any_flipped_bit_in_the_manifest_is_found(root, capsys):
    path = root / "manifest.json"
    size = path.stat().st_size
    for place in random.Random(0).sample(range(size), 60):
        flip_bit(path, place)
        with pytest.raises(IntegrityError, match=re.escape(str(path))):
            Checkpoint(root)
        flip_bit(path, place)
    assert verify(root) == 0


def test_a_manifest_without_a_checksum_of_itself_is_read(root):
    """Once there was none."""
    content = json.loads((root / "manifest.json").read_text())
    del content["checksum"]
    (root / "manifest.json").write_text(json.dumps(content))
    assert verify(root) == 0


def test_a_manifest_that_contradicts_its_files_never_passes_verification(root, capsys):
    content = json.loads((root / "manifest.json").read_text())
    for field, changes in (
        ("model", {"hidden_size": 24}),
        ("model", {"num_backbone": 25}),
        ("model", {"num_sinks": 16}),
        ("model", {"num_layers": 3}),
        ("model", {"tied_embeddings": not content["model"]["tied_embeddings"]}),
        ("router", {"num_active": 16}),
        ("router", {"version": 0}),
        ("router", {"num_sinks": 10**30}),
        ("router", {"num_experts": 10**9}),
    ):
        edit_manifest(root, **{field: content[field] | changes})
        assert verify(root) == 5
        edit_manifest(root, **{field: content[field]})
    for part in ("model", "router"):  # alone, they would contradict each other
        edit_manifest(root, **{part: content[part] | {"num_layers": 10**9}})
    assert verify(root) == 5
    assert "num_layers (1000000000) of hidden_size (16) cannot be in weights of" in (
        capsys.readouterr().err
    )
    edit_manifest(root, model=content["model"], router=content["router"])
    edit_manifest(root, format_version=3)
    assert verify(root) == 5


@pytest.mark.parametrize("name", FILES)
def test_truncation_is_found(root, name):
    content = (root / name).read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        if name == "manifest.json" and length == len(content) - 1:
            continue  # only the final line feed is gone
        (root / name).write_bytes(content[:length])
        assert verify(root) == 5
    for tool, used in ((strip, CONCERNED), (convert, RELEASED)):
        (root / name).write_bytes(content[: len(content) // 2])
        # Strip links the other files, and compares sizes before it does.
        assert tool(root) == (5 if name in used or tool is strip else 0)


@pytest.mark.parametrize("name", FILES[1:])
def test_missing_file_is_found_by_every_tool_that_takes_it_along(root, name):
    (root / name).unlink()
    assert verify(root) == 5
    assert strip(root) == 5
    assert convert(root) == (5 if name in RELEASED else 0)


def test_checkpoint_without_manifest_is_no_checkpoint(root):
    (root / "manifest.json").unlink()
    assert (verify(root), strip(root), convert(root)) == (3, 3, 3)


def test_extra_and_swapped_files_are_found(root, capsys):
    (root / "weights" / "stray").write_text("x")
    assert verify(root) == 5
    assert "weights/stray" in capsys.readouterr().err
    (root / "weights" / "stray").unlink()
    (root / "weights" / "link").symlink_to("..")
    assert verify(root) == 5
    (root / "weights" / "link").unlink()
    first, second = (root / f"weights/sinks-expert-000{number}.safetensors" for number in (0, 1))
    shutil.copy(first, root / "kept")
    shutil.copy(second, first)
    (root / "kept").rename(second)
    assert verify(root) == 5


@pytest.mark.parametrize("folder", ["weights", "optimizer"])
def test_file_reached_through_a_link_is_refused(root, folder):
    name = f"{folder}/sinks-expert-0000" + ("-part0000" if folder == "optimizer" else "")
    path = root / f"{name}.safetensors"
    path.rename(root.parent / "elsewhere")
    path.symlink_to(root.parent / "elsewhere")
    assert (verify(root), strip(root)) == (5, 5)
    path.unlink()
    (root.parent / "elsewhere").rename(path)
    (root / folder).rename(root.parent / "moved")
    (root / folder).symlink_to(root.parent / "moved")
    assert (verify(root), strip(root)) == (5, 5)


def reseal(root, name):
    """Record a file anew, as an attacker or a faulty writer would."""
    manifest = json.loads((root / "manifest.json").read_text())
    content = (root / name).read_bytes()
    for record in manifest["files"]:
        if record["path"] == name:
            record["num_bytes"] = len(content)
            record["sha256"] = hashlib.sha256(content).hexdigest()
    edit_manifest(root, files=manifest["files"])


def header(entries, length=None):
    content = json.dumps(entries).encode()
    return (len(content) if length is None else length).to_bytes(8, "little") + content


SINK = "decoder.layers.0.mlp.sinks.gate"
TOMBSTONE = {"source_id": 1, "grade": "excised", "seed": 0}
ENTRY = {"dtype": "F32", "shape": [32, 16], "data_offsets": [0, 2048]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        header({}, length=1 << 62),
        header({}, length=200_000_000),
        b"\x05\0\0\0\0\0\0\0hello",
        header({SINK: ENTRY}),
        header({SINK: {**ENTRY, "data_offsets": [2048, 0]}}) + bytes(2048),
        header({SINK: {**ENTRY, "shape": [-32, -16]}}) + bytes(2048),
        header({SINK: {**ENTRY, "shape": [1 << 40, 1 << 40]}}) + bytes(2048),
        header({SINK: ENTRY, "other": ENTRY}) + bytes(2048),
        header({SINK: {**ENTRY, "dtype": "PICKLE"}}) + bytes(2048),
        header({SINK: {"dtype": "I32", "shape": [32, 16], "data_offsets": [0, 2048]}})
        + bytes(2048),
        header({SINK: {"dtype": "F64", "shape": [32, 8], "data_offsets": [0, 2048]}}) + bytes(2048),
        header({SINK: {**ENTRY, "shape": [16, 32]}}) + bytes(2048),
        header({f"../{SINK}": ENTRY}) + bytes(2048),
        header({f"master/{SINK}@500": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}})
        + bytes(64),
        header({f"master/{SINK}@x": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}})
        + bytes(64),
    ],
)
def test_false_safetensors_file_with_a_true_checksum_is_refused(root, content):
    name = "weights/sinks-expert-0000.safetensors"
    (root / name).write_bytes(content)
    reseal(root, name)
    assert (verify(root), strip(root)) == (5, 5)


@pytest.mark.parametrize("change", ["gap", "overlap", "unknown", "matrix", "moment"])
def test_optimizer_state_that_does_not_tile_is_refused(root, change):
    name = "optimizer/sinks-expert-0001-part0000.safetensors"
    tensors = load_file(root / name)
    key = next(key for key in tensors if key.startswith("exp_avg/") and "@0" in key)
    if change == "gap":
        tensors[key] = tensors[key][:-1]
    elif change == "overlap":
        tensors[key] = torch.cat([tensors[key], tensors[key][:1]])
    elif change == "unknown":
        tensors["master/decoder.layers.9.mlp.sinks.up@0"] = tensors[key].clone()
    elif change == "matrix":
        tensors[key] = tensors[key][None]
    else:
        tensors[key.replace("exp_avg", "exp_max")] = tensors.pop(key)
    write_tensors(root / name, tensors)
    reseal(root, name)
    assert verify(root) == 5


def outside(path):
    return {"path": path, "num_bytes": 1, "sha256": "", "num_rows": 0, "num_tokens": 0}


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "/etc/hostname",
        "weights/../../outside",
        "",
        ".",
        "a\0b",
        "/dev/null",
        "weights",
    ],
)
def test_manifest_cannot_reach_outside_its_directory(root, path):
    (root.parent / "outside").write_text("x")
    files = json.loads((root / "manifest.json").read_text())["files"]
    edit_manifest(root, files=[*files, outside(path)])
    before = sorted(os.listdir(root.parent))
    assert verify(root) == 5
    assert strip(root) == 5
    assert sorted(os.listdir(root.parent)) == sorted({*before, "sources.txt"})


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "100"},
        {"step": True},
        {"step": None},
        {"step": -1},
        {"step": 10**30},
        {"model": []},
        {"model": {}},
        {"model": {"num_layers": "two"}},
        {"router": None},
        {"router": {"seed": 1}},
        {"bucket_table": 5},
        {"bucket_table": "!!"},
        {"bucket_table": ""},
        {"bucket_table": "//8=" * 2048},
        {"corpus": 1},
        {"tombstones": 5},
        {"tombstones": [5]},
        {"tombstones": [{"source_id": 1, "grade": "erased", "seed": 0}]},
        {"tombstones": [{"source_id": -1, "grade": "excised", "seed": 0}]},
        {"tombstones": [{"source_id": (1 << 64) - 1, "grade": "excised", "seed": 0}]},
        {"tombstones": [{"source_id": 1.0, "grade": "excised", "seed": 0}]},
        {"tombstones": [{"source_id": 1, "grade": "excised", "seed": "0"}]},
        {"tombstones": [{"source_id": number, "grade": "excised", "seed": 0} for number in (2, 1)]},
        {"tombstones": [{"source_id": 1, "grade": "excised", "seed": 0}] * 2},
        {"tombstones": [TOMBSTONE | {"text_digests": "ab" * 16}]},
        {"tombstones": [TOMBSTONE | {"text_digests": ["AB" * 16]}]},
        {"tombstones": [TOMBSTONE | {"text_digests": ["ab" * 15]}]},
        {"tombstones": [TOMBSTONE | {"text_digests": [5]}]},
        {"tombstones": [TOMBSTONE | {"text_digests": ["ab" * 16] * 2}]},
        {"files": None},
        {"files": ["weights"]},
        {"files": [outside("a"), outside("a")]},
        {"files": [{**outside("a"), "path": 5}]},
        {"files": [{**outside("a"), "num_bytes": "1"}]},
        {"surprise": 1},
    ],
)
def test_false_manifest_is_refused(root, changes):
    edit_manifest(root, **changes)
    assert (verify(root), strip(root), convert(root)) == (5, 5, 5)


@pytest.mark.parametrize(
    "text",
    [
        '{"format_version": 1, "format_version": 1}',
        '{"format_version": NaN}',
        '{"format_version": ' + "9" * 5000 + "}",
        "[" * 100_000,
        "[1]",
        "null",
        "\ufeff{}",
        "{",
        "",
    ],
)
def test_false_json_is_refused(root, text):
    (root / "manifest.json").write_text(text, encoding="utf-8")
    assert (verify(root), strip(root), convert(root)) == (5, 5, 5)


def test_duplicate_key_deep_in_a_manifest_is_refused(root):
    text = (root / "manifest.json").read_text()
    (root / "manifest.json").write_text(text.replace('"seed": 7', '"seed": 7, "seed": 8', 1))
    assert (verify(root), strip(root), convert(root)) == (5, 5, 5)
