"""A checkpoint that contradicts itself is not loaded."""

import json

import pytest

from nulls_dist.errors import IntegrityError
from nulls_dist.eval.inference import load_for_inference
from tests.checkpoint_factory import build_checkpoint, edit_manifest


@pytest.mark.parametrize("change", [{"num_active": 16}, {"num_layers": 1}, {"per_layer": False}])
def test_a_router_of_another_model_is_refused(tmp_path, change):
    root = build_checkpoint(tmp_path / "checkpoint")
    router = json.loads((root / "manifest.json").read_text())["router"]
    edit_manifest(root, router=router | change)
    with (
        pytest.raises(IntegrityError, match=f"{next(iter(change))} is .* in model but"),
        load_for_inference(root),
    ):
        pass
