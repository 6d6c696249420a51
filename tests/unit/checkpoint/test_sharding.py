"""Tensor-parallel shards: cut and joined without loss, and the optimizer state stored as such."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.checkpoint.format import OPTIMIZER_KINDS, FragmentKey, parse_fragment_key
from nulls_dist.checkpoint.fragments import OptimizerFragments
from nulls_dist.checkpoint.shapes import ParameterPart, backbone_shapes
from nulls_dist.checkpoint.sharding import Sharding, sharding_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.errors import IntegrityError
from tests.checkpoint_factory import (
    NUM_PARTS,
    build_checkpoint,
    rewrite_tensors,
    tiny_model,
)

FC1 = "decoder.layers.0.mlp.backbone.linear_fc1.weight"
FC2 = "decoder.layers.1.mlp.backbone.linear_fc2.weight"
NORM = "decoder.final_layernorm.weight"


@given(
    dim=st.sampled_from([0, 1]),
    stride=st.integers(1, 3),
    num_shards=st.integers(1, 4),
    width=st.integers(1, 3),
    other=st.integers(1, 4),
)
def test_joined_shards_are_the_whole(dim, stride, num_shards, width, other):
    sharding = Sharding(dim=dim, stride=stride)
    cut = stride * num_shards * width
    whole = torch.arange(cut * other).view((cut, other) if dim == 0 else (other, cut))
    shards = [sharding.shard(whole, index, num_shards) for index in range(num_shards)]
    assert torch.equal(sharding.join(shards), whole)
    for shard in shards:
        assert tuple(shard.shape) == sharding.shape_of_shard(whole.shape, num_shards)
        assert sharding.shape_of_whole(shard.shape, num_shards) == tuple(whole.shape)


def test_a_stride_of_two_takes_the_same_share_of_gate_and_up():
    gate_and_up = torch.tensor([[0], [1], [2], [3], [10], [11], [12], [13]])
    second = Sharding(dim=0, stride=2).shard(gate_and_up, 1, 2)
    assert second.flatten().tolist() == [2, 3, 12, 13]


def test_every_matrix_of_the_backbone_is_cut_and_nothing_else():
    for name, shape in backbone_shapes(tiny_model()).items():
        assert (sharding_of(name) is not None) == (len(shape) == 2), name
    assert sharding_of("decoder.layers.0.mlp.sinks.gate") is None


def test_a_key_names_its_shard():
    key = FragmentKey(kind="master", name=FC1, start=7, shard=1, num_shards=2)
    assert str(key) == f"master/{FC1}[1/2]@7"
    assert parse_fragment_key(str(key), Path("file")) == key
    with pytest.raises(IntegrityError, match="there is no such shard"):
        parse_fragment_key(f"master/{FC1}[2/2]@0", Path("file"))


def shard_optimizer(root, names, num_shards):
    """Store the optimizer state of some parameters as so many ranks would have."""
    fragments = OptimizerFragments(Checkpoint(root))
    shapes = backbone_shapes(tiny_model())
    stored = {}
    for name in names:
        for kind in OPTIMIZER_KINDS:
            size = torch.Size(shapes[name]).numel()
            whole = fragments.read(ParameterPart(name=name), kind, 0, size).view(shapes[name])
            for index in range(num_shards):
                shard = sharding_of(name).shard(whole, index, num_shards).flatten()
                middle = len(shard) // 3
                for start, values in ((0, shard[:middle]), (middle, shard[middle:])):
                    key = FragmentKey(
                        kind=kind, name=name, start=start, shard=index, num_shards=num_shards
                    )
                    stored[str(key)] = values.clone()

    def replace(tensors):
        return {
            key: values
            for key, values in tensors.items()
            if parse_fragment_key(key, Path("file")).name not in names
        }

    rewrite_tensors(
        root, "optimizer/backbone-part0000.safetensors", lambda old: replace(old) | stored
    )
    for part in range(1, NUM_PARTS):
        rewrite_tensors(root, f"optimizer/backbone-part{part:04d}.safetensors", replace)


@pytest.mark.parametrize(("saved", "loaded"), [(2, 1), (2, 2), (4, 2), (2, 4), (1, 2)])
def test_state_saved_by_some_ranks_loads_on_others_to_the_last_bit(tmp_path, saved, loaded):
    root = build_checkpoint(tmp_path / "checkpoint")
    before = OptimizerFragments(Checkpoint(root))
    shapes = backbone_shapes(tiny_model())
    expected = {
        name: before.read(ParameterPart(name=name), "exp_avg", 0, torch.Size(shapes[name]).numel())
        for name in (FC1, FC2)
    }
    if saved > 1:
        shard_optimizer(root, (FC1, FC2), saved)
    fragments = OptimizerFragments(Checkpoint(root))
    fragments.check()
    for name, values in expected.items():
        whole = values.view(shapes[name])
        for index in range(loaded):
            shard = sharding_of(name).shard(whole, index, loaded).flatten()
            found = fragments.read(
                ParameterPart(name=name),
                "exp_avg",
                5,
                len(shard) - 9,
                shard=index,
                num_shards=loaded,
            )
            assert torch.equal(found, shard[5:-4]), (name, index)


def test_shards_with_a_gap_are_refused(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")
    shard_optimizer(root, (FC1,), 2)
    lost = str(FragmentKey(kind="exp_avg", name=FC1, start=0, shard=1, num_shards=2))
    rewrite_tensors(
        root,
        "optimizer/backbone-part0000.safetensors",
        lambda old: {key: values for key, values in old.items() if key != lost},
    )
    with pytest.raises(IntegrityError, match=r"shard 1 of 2\) has a gap or overlap at element 0"):
        OptimizerFragments(Checkpoint(root)).check()


def test_shards_of_what_every_rank_holds_are_refused(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")

    def rename(tensors):
        return {key.replace(f"{NORM}@", f"{NORM}[0/2]@"): value for key, value in tensors.items()}

    for part in range(NUM_PARTS):
        rewrite_tensors(root, f"optimizer/backbone-part{part:04d}.safetensors", rename)
    with pytest.raises(IntegrityError, match=f"{NORM} is stored in 2 shards"):
        OptimizerFragments(Checkpoint(root)).check()
