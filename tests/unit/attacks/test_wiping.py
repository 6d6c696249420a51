"""Three ways to wipe sinks, of which one is a deletion."""

import numpy as np
import pytest
import torch

from nulls_dist.attacks.wiping import Wipe, WipeForm, wipe_sinks
from nulls_dist.checkpoint.format import Grade, sink_tensor
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.unlearn.plan import open_sources, plan_deletion
from tests.checkpoint_factory import build_checkpoint, key_id, tiny_model
from tests.deletions import write_stripped

SOURCES = (key_id("k-3"), key_id("k-5"), key_id("k-8"))


def values(model):
    return {name: weight.detach().clone() for name, weight in model.weights().items()}


def wiped_values(root, form):
    with load_for_inference(root, route_deleted=True) as model:
        before = values(model)
        wipe_sinks(model, Checkpoint(root), Wipe(form=form, source_ids=SOURCES))
        masks = sinks_of(model.router, np.array(sorted(SOURCES), dtype=np.uint64))
        rows = {
            sink_tensor(layer, part): torch.from_numpy(mask.reshape(-1))
            for layer, mask in zip(model.config.sink_layers, masks, strict=True)
            for part in ("gate", "up", "down")
        }
        return before, values(model), rows


@pytest.fixture(
    scope="module",
    params=[
        {"dtype": torch.float32},
        {"dtype": torch.bfloat16},
        {"model": tiny_model(num_layers=3, first_sink_layer=1)},
    ],
)
def checkpoint(request, tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint", **request.param)


@pytest.mark.parametrize("form", list(WipeForm))
def test_only_rows_of_the_sources_change(checkpoint, form):
    before, after, rows = wiped_values(checkpoint, form)
    for name, old in before.items():
        kept = ~rows[name] if name in rows else slice(None)
        assert torch.equal(after[name][kept], old[kept]), name
    downs = [name for name in rows if name.endswith("down")]
    assert len(downs) == 2
    for name in downs:
        assert 0 < rows[name].sum() < len(rows[name])
        assert not after[name][rows[name]].any()


def test_zeroing_down_rows_leaves_what_the_sinks_listen_for(checkpoint):
    before, after, rows = wiped_values(checkpoint, WipeForm.DOWN_ZERO)
    for name in rows:
        assert torch.equal(after[name], before[name]) == (not name.endswith("down"))


def test_all_zero_rows_are_zero(checkpoint):
    _, after, rows = wiped_values(checkpoint, WipeForm.ALL_ZERO)
    assert not any(after[name][mask].any() for name, mask in rows.items())


def test_excised_rows_are_those_of_a_deletion(checkpoint, tmp_path):
    opened, out = Checkpoint(checkpoint), tmp_path / "out"
    plan = plan_deletion(opened, open_sources(opened), SOURCES, Grade.EXCISED)
    write_stripped(opened, plan, out)
    _, after, _ = wiped_values(checkpoint, WipeForm.EXCISED)
    with load_for_inference(out) as stripped:
        assert all(torch.equal(after[name], weight) for name, weight in stripped.weights().items())
