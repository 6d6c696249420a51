"""Optimizer state by range: a file is verified before a value of it is used, and only then."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nulls_dist.checkpoint.format import OPTIMIZER_KINDS, parse_fragment_key
from nulls_dist.checkpoint.fragments import OptimizerFragments
from nulls_dist.checkpoint.shapes import ParameterPart
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.errors import IntegrityError
from tests.checkpoint_factory import build_checkpoint

DAMAGED = "optimizer/sinks-expert-0000-part0001.safetensors"
NAME = "decoder.layers.1.mlp.sinks.up"
PART = ParameterPart(name=NAME, expert=0)


@pytest.fixture
def root(tmp_path):
    return build_checkpoint(tmp_path / "checkpoint")


def pieces_of(root, file, kind):
    """(start, values) of the parameter's pieces in one file, ascending."""
    found = []
    for key, values in load_file(root / file).items():
        parsed = parse_fragment_key(key, Path("file"))
        if (parsed.kind, parsed.name) == (kind, NAME):
            found.append((parsed.start, values))
    return sorted(found, key=lambda piece: piece[0])


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", OPTIMIZER_KINDS)
def test_any_range_is_that_of_the_pieces_laid_end_to_end(root, kind):
    pieces = pieces_of(root, DAMAGED, kind)
    pieces += pieces_of(root, DAMAGED.replace("part0001", "part0000"), kind)
    whole = torch.cat([values for _, values in sorted(pieces, key=lambda piece: piece[0])])
    fragments = OptimizerFragments(Checkpoint(root))
    for start, length in ((0, len(whole)), (17, 401), (len(whole) - 1, 1)):
        assert torch.equal(fragments.read(PART, kind, start, length), whole[start : start + length])


def test_a_flipped_bit_is_found_by_whoever_reads_the_file_and_by_nobody_else(root):
    ((start, values),) = pieces_of(root, DAMAGED, "master")
    flip_last_bit(root / DAMAGED)
    fragments = OptimizerFragments(Checkpoint(root))
    assert len(fragments.read(PART, "master", 0, start)) == start
    assert len(fragments.read(ParameterPart(name=NAME, expert=1), "exp_avg", 0, 512)) == 512
    for _ in range(2):  # a refusal is not forgotten
        with pytest.raises(IntegrityError, match=DAMAGED):
            fragments.read(PART, "master", start, len(values))


def test_a_file_of_another_size_is_found_at_once(root):
    (root / DAMAGED).write_bytes((root / DAMAGED).read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=DAMAGED):
        OptimizerFragments(Checkpoint(root))
