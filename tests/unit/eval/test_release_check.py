"""Every form of release, as its users load it, gives the checkpoint's logits, or is refused."""

from functools import partial

import numpy as np
import pytest
import torch

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.errors import IntegrityError
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.release_check import check_logits
from nulls_dist.export.backbone import export_backbone
from nulls_dist.export.release import ReleaseOptions
from tests.checkpoint_factory import build_checkpoint, key_id, model_without_sinks, tiny_model
from tools import convert_to_hf


def convert(root, out, capfd, *options):
    arguments = [str(root), str(out), "--validate", *options]
    assert run_command(convert_to_hf.main, arguments) == 0, capfd.readouterr().err
    assert (out / "config.json").is_file()


def merged_sources(folder):
    path = folder / "sources.txt"
    path.write_text("Title 03\nTitle 04\n")
    return ["--sources", str(path)]


def test_merged_release_of_two_sources_is_validated_in_a_fresh_process(tmp_path, capfd):
    root = build_checkpoint(tmp_path / "checkpoint")
    convert(root, tmp_path / "out", capfd, "--form", "merged", *merged_sources(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["backbone", "merged", "routed"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_form_and_type_is_validated_in_a_fresh_process(tmp_path, capfd, form, dtype):
    tombstone = Tombstone(source_id=key_id("k-0"), grade=Grade.EXCISED, seed=9)
    root = build_checkpoint(tmp_path / "checkpoint", tombstones=(tombstone,))
    options = ["--form", form, "--dtype", dtype]
    options += merged_sources(tmp_path) if form == "merged" else []
    convert(root, tmp_path / "out", capfd, *options)


@pytest.mark.slow
def test_a_model_without_sinks_and_one_with_a_single_source_are_validated(tmp_path, capfd):
    root = build_checkpoint(tmp_path / "plain", model=model_without_sinks())
    convert(root, tmp_path / "whole", capfd, "--form", "backbone")
    root = build_checkpoint(tmp_path / "lonely", rows=[{"source_key": "k-0", "title": "Only"}])
    convert(root, tmp_path / "routed", capfd, "--form", "routed")


def test_release_of_another_model_is_not_published(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")
    other = build_checkpoint(tmp_path / "other", model=tiny_model(num_layers=3))
    check = partial(check_logits, other, "backbone", [])
    with pytest.raises(IntegrityError, match=r"logits differ from the checkpoint's by \d\."):
        export_backbone(Checkpoint(root), tmp_path / "out", ReleaseOptions(check=check))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "other"]


def test_union_of_one_source_is_that_source_and_order_does_not_matter(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")
    texts = [np.arange(length).tolist() for length in (9, 4)]
    first, second = key_id("k-3"), key_id("k-4")
    with load_for_inference(root) as model:
        alone, on = model.union_logits(texts, [first]), model.logits(texts, [first, first])
        torch.testing.assert_close(alone, on, rtol=0, atol=1e-6)
        both = model.union_logits(texts, [first, second])
        torch.testing.assert_close(both, model.union_logits(texts, [second, first]))
        assert (both[0] - alone[0]).abs().max() > 1e-2
