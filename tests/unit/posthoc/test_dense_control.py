"""A dense checkpoint unlearns as what is exported of it does."""

import pytest
import torch

from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.errors import InputError
from nulls_dist.export.backbone import export_backbone
from nulls_dist.posthoc.causal_model import next_token_logits
from nulls_dist.posthoc.dense_control import load_dense_control
from nulls_dist.posthoc.eco import ECOPrompts
from nulls_dist.posthoc.gradient_methods import NPO
from nulls_dist.posthoc.plan import Plan
from nulls_dist.posthoc.reinforced import LogitDifference
from nulls_dist.posthoc.representation import RMU
from nulls_dist.posthoc.runner import run
from tests.checkpoint_factory import build_checkpoint, model_without_sinks
from tests.tiny_llama import REQUEST


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (NPO(), NPO()),
        (RMU(layer="gpt.decoder.layers.0"), RMU(layer="model.layers.0")),
        (LogitDifference(strengths=(2.0,)), LogitDifference(strengths=(2.0,))),
        (
            ECOPrompts(embedding="gpt.embedding.word_embeddings", search=None, strength=3.0),
            ECOPrompts(search=None, strength=3.0),
        ),
    ],
    ids=lambda method: method.name,
)
def test_a_dense_checkpoint_and_its_release_unlearn_alike(tmp_path, monkeypatch, ours, theirs):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoModelForCausalLM

    root = build_checkpoint(tmp_path / "checkpoint", model=model_without_sinks())
    export_backbone(Checkpoint(root), tmp_path / "release")
    released = AutoModelForCausalLM.from_pretrained(tmp_path / "release", dtype=torch.float32)
    tokens = torch.tensor([[1, 2, 3, 4, 5], [5, 6, 7, 8, 9]])
    plan = Plan(max_steps=3, batch_size=2, learning_rate=1e-3)
    with load_dense_control(root) as control, torch.random.fork_rng(devices=[]):
        torch.testing.assert_close(*both(control, released, tokens), rtol=1e-4, atol=1e-5)
        outcomes = [run(control, ours, REQUEST, plan), run(released, theirs, REQUEST, plan)]
        models = [outcome.model for outcome in outcomes]
        torch.testing.assert_close(*both(*models, tokens), rtol=1e-3, atol=1e-4)
    first, second = (outcome.record for outcome in outcomes)
    assert first.sanity.changed
    assert first.cost.forward_tokens == second.cost.forward_tokens
    assert first.cost.extra_parameters == second.cost.extra_parameters
    assert first.sanity.retain_nll_after == pytest.approx(second.sanity.retain_nll_after, rel=1e-3)


def both(one, other, tokens):
    with torch.no_grad():
        return next_token_logits(one, tokens), next_token_logits(other, tokens)


def test_a_model_with_sinks_is_refused(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(InputError, match="has sinks"), load_dense_control(root):
        pass
