"""A checkpoint that contradicts itself is not loaded; a loaded one has the loss of its logits."""

import json

import pytest
import torch

from nulls_dist.errors import IntegrityError
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.token_scores import Passage, score_passages
from nulls_dist.sources import NO_SOURCE
from tests.checkpoint_factory import build_checkpoint, edit_manifest, key_id, model_without_sinks


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


@pytest.mark.parametrize("model", [None, model_without_sinks()])
def test_the_loss_is_that_of_the_logits(tmp_path, model):
    texts = [[3, 4, 5, 6, 7], [8, 9], [10, 11, 12]]
    source_ids = [key_id("k-3"), NO_SOURCE, key_id("k-5")]
    with load_for_inference(build_checkpoint(tmp_path / "checkpoint", model=model)) as loaded:
        loss = loaded.loss(texts, source_ids)
        passages = [
            Passage(tokens=text, source_id=source_id)
            for text, source_id in zip(texts, source_ids, strict=True)
        ]
        scores = score_passages(loaded, passages)
    mean = -sum(score.log_likelihood for score in scores) / sum(len(text) - 1 for text in texts)
    assert float(loss.detach()) == pytest.approx(mean, rel=1e-5)


def test_the_loss_has_the_gradient_of_every_weight(tmp_path):
    texts, source_ids = [[3, 4, 5, 6, 7], [8, 9]], [key_id("k-3"), key_id("k-5")]
    with load_for_inference(build_checkpoint(tmp_path / "checkpoint")) as loaded:
        loaded.loss(texts, source_ids).backward()
        for name, weight in loaded.weights().items():
            place = int(weight.grad.abs().argmax())
            step, slope = 1e-2, 0.0
            kept = float(weight.detach().view(-1)[place])
            for sign in (1, -1):
                with torch.no_grad():
                    weight.view(-1)[place] = kept + sign * step
                    slope += sign * float(loaded.loss(texts, source_ids)) / (2 * step)
            with torch.no_grad():
                weight.view(-1)[place] = kept
            assert slope == pytest.approx(float(weight.grad.view(-1)[place]), rel=0.02), name
