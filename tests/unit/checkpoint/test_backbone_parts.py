"""A backbone in several files is read as the same backbone in one."""

import pytest
import torch
from safetensors.torch import load_file

from nulls_dist.checkpoint.backbone import BackboneWeights
from nulls_dist.checkpoint.format import backbone_weights_file
from nulls_dist.checkpoint.store import Checkpoint, write_tensors
from nulls_dist.cli import run_command
from nulls_dist.errors import IntegrityError
from tests.checkpoint_factory import (
    TOKENIZER_FILE,
    build_checkpoint,
    key_id,
    tiny_model,
    write_manifest,
    write_tokenizer,
)
from tools import convert_to_hf, verify_checkpoint

FIRST, SECOND = backbone_weights_file(0), backbone_weights_file(1)


@pytest.fixture
def whole(tmp_path):
    return build_checkpoint(tmp_path / "whole")


def cut(root, *, shared=()):
    """Build the same checkpoint with every other tensor in a second part, `shared` in both."""
    build_checkpoint(root)
    tensors = load_file(root / FIRST)
    moved = sorted(tensors)[::2]
    write_tensors(root / SECOND, {name: tensors[name] for name in {*moved, *shared}})
    write_tensors(root / FIRST, {name: tensors[name] for name in set(tensors) - set(moved)})
    write_manifest(root, tiny_model(), 100, write_tokenizer(root / TOKENIZER_FILE))
    return root


def test_two_parts_verify_and_give_every_tensor(whole, tmp_path):
    parts = cut(tmp_path / "parts")
    assert run_command(verify_checkpoint.main, [str(parts)]) == 0
    expected = load_file(whole / FIRST)
    backbone = BackboneWeights(Checkpoint(parts))
    assert backbone.names() == sorted(expected)
    for name, values in expected.items():
        assert torch.equal(backbone.read(name), values)


@pytest.mark.parametrize("form", ["backbone", "merged"])
def test_two_parts_export_the_same_bytes(whole, tmp_path, form):
    (tmp_path / "sources.txt").write_text("Title 03\nTitle 04\n")
    options = ["--form", form]
    options += ["--sources", str(tmp_path / "sources.txt")] if form == "merged" else []
    weights = []
    for root in (whole, cut(tmp_path / "parts")):
        out = tmp_path / f"{root.name}-released"
        assert run_command(convert_to_hf.main, [str(root), str(out), *options]) == 0
        weights.append((out / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_two_parts_load_as_the_same_model(whole, tmp_path):
    from nulls_dist.eval.inference import load_for_inference

    logits = []
    for root in (whole, cut(tmp_path / "parts")):
        with load_for_inference(root) as model:
            logits += model.logits([[3, 1, 4, 1, 5]], [key_id("k-3")])
    assert torch.equal(logits[0], logits[1])
    assert logits[0].std() > 0.1


def test_a_flipped_bit_in_any_part_is_found(tmp_path):
    parts = cut(tmp_path / "parts")
    for name in (FIRST, SECOND):
        content = (parts / name).read_bytes()
        (parts / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=name):
            BackboneWeights(Checkpoint(parts))
        (parts / name).write_bytes(content)


def test_a_tensor_in_two_parts_is_refused(tmp_path):
    norm = "decoder.final_layernorm.weight"
    everything = load_file(build_checkpoint(tmp_path / "one") / FIRST)
    twice = cut(tmp_path / "twice", shared=sorted(everything))
    assert run_command(verify_checkpoint.main, [str(twice)]) == 5
    with pytest.raises(IntegrityError, match=r"is in .*part0000"):
        BackboneWeights(Checkpoint(twice)).read(norm)
