"""A model without sinks: what can be done with it works, deletion is refused and says why."""

import json
import math

import pytest

from nulls_dist.checkpoint.shapes import backbone_shapes
from nulls_dist.checkpoint.store import write_tensors
from nulls_dist.cli import run_command
from nulls_dist.data.format import TokenizerRecord
from tests.checkpoint_factory import (
    build_checkpoint,
    edit_manifest,
    key_id,
    model_without_sinks,
    write_manifest,
)
from tools import build_manifests, convert_to_hf, lookup_source, strip_sources, verify_checkpoint

BAD_INPUT, INTEGRITY = 3, 5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return build_checkpoint(folder / "step-00000100", model=model_without_sinks())


@pytest.mark.parametrize(
    ("tool", "options"),
    [
        (strip_sources, ["SOURCES", "--out=OUT"]),
        (strip_sources, ["SOURCES", "--out=OUT", "--mode=suppress"]),
        (strip_sources, ["SOURCES", "--dry-run"]),
        (build_manifests, ["SOURCES", "--out=OUT"]),
        (build_manifests, ["--out=OUT", "--all"]),
        (convert_to_hf, ["OUT", "--form=merged", "--sources=SOURCES"]),
    ],
)
def test_nothing_of_a_source_can_be_deleted_listed_or_merged(
    tool, options, checkpoint, tmp_path, capsys
):
    sources = tmp_path / "sources.txt"
    sources.write_text("Title 03\n")
    places = {"SOURCES": str(sources), "OUT": str(tmp_path / "out")}
    for name, place in places.items():
        options = [option.replace(name, place) for option in options]
    assert run_command(tool.main, [str(checkpoint), *options]) == BAD_INPUT
    captured = capsys.readouterr()
    assert "the model has no sinks" in captured.err
    assert "retrain the model without it" in captured.err
    assert captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["sources.txt"]
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_it_verifies_and_its_parameters_are_those_of_the_backbone(checkpoint, capsys):
    assert run_command(verify_checkpoint.main, [str(checkpoint), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    shapes = backbone_shapes(model_without_sinks()).values()
    assert report["num_parameters"] == sum(math.prod(shape) for shape in shapes)
    assert report["num_files"] == 7
    assert report["num_deleted_sources"] == report["num_excisions_verified"] == 0


def test_a_sink_file_is_a_part_of_no_model_without_sinks(tmp_path, capsys):
    root = build_checkpoint(tmp_path / "checkpoint", model=model_without_sinks())
    tokenizer = json.loads((root / "manifest.json").read_text())["tokenizer"]
    write_tensors(root / "weights/sinks-expert-0000.safetensors", {})
    write_manifest(root, model_without_sinks(), 100, TokenizerRecord(**tokenizer))
    assert run_command(verify_checkpoint.main, [str(root)]) == INTEGRITY
    assert "weights of no part of the model" in capsys.readouterr().err


def test_a_router_with_sinks_does_not_fit_it(tmp_path, capsys):
    root = build_checkpoint(tmp_path / "checkpoint", model=model_without_sinks())
    router = json.loads((root / "manifest.json").read_text())["router"]
    edit_manifest(root, router=router | {"num_sinks": 32, "num_active": 8})
    assert run_command(verify_checkpoint.main, [str(root)]) == INTEGRITY
    assert "num_sinks is 0 in model but 32 in router" in capsys.readouterr().err


def test_lookup_finds_a_source_that_has_no_expert(checkpoint, capsys):
    assert run_command(lookup_source.main, [str(checkpoint), "Title 03", "--json"]) == 0
    (place,) = json.loads(capsys.readouterr().out)
    assert (place["source_id"], place["state"], place["expert"]) == (key_id("k-3"), "live", None)
