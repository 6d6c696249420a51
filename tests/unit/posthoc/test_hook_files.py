"""What stands before a model is written and read again."""

import pytest
import torch

from nulls_dist.durable import read_json, write_json
from nulls_dist.errors import ConfigError, InputError, IntegrityError
from nulls_dist.posthoc.causal_model import next_token_logits
from nulls_dist.posthoc.corruptions import Dims, FlipSign
from nulls_dist.posthoc.eco import ECOPrompts
from nulls_dist.posthoc.hook_files import HOOK_FILE, load_hook, write_hook
from nulls_dist.posthoc.plan import Plan
from nulls_dist.posthoc.reinforced import LogitDifference
from nulls_dist.posthoc.runner import run
from tests.tiny_llama import PROMPT, REQUEST, build_llama, trained_llama

METHODS = [
    ECOPrompts(search=None, strength=3.0),
    ECOPrompts(search=None, strength=4.0, corruption=FlipSign(dims=Dims.RANDOM), threshold=0.4),
    LogitDifference(strengths=(2.0,)),
]
TOKENS = torch.tensor([example.tokens for example in (*REQUEST.forget_text, *REQUEST.retain_text)])


def answers(model):
    with torch.no_grad():
        return next_token_logits(model, TOKENS, prompt_lengths=[PROMPT] * len(TOKENS))


def unlearned_by(method):
    plan = Plan(max_steps=2, learning_rate=1e-2, batch_size=2)
    return run(trained_llama(), method, REQUEST, plan).model


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_was_read_answers_as_what_was_written(tmp_path, method):
    unlearned = unlearned_by(method)
    write_hook(tmp_path, unlearned)
    loaded = load_hook(tmp_path, trained_llama())
    assert torch.equal(answers(loaded), answers(unlearned))
    assert not torch.equal(answers(loaded), answers(trained_llama()))


def test_a_hook_fits_its_own_model_only(tmp_path):
    write_hook(tmp_path, unlearned_by(METHODS[0]))
    with pytest.raises(InputError, match="belongs to a model with other weights"):
        load_hook(tmp_path, build_llama())


def test_damage_is_found(tmp_path):
    write_hook(tmp_path, unlearned_by(METHODS[2]))
    path = tmp_path / "hook.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(IntegrityError, match="not a whole hook"):
        load_hook(tmp_path, trained_llama())
    write_json(tmp_path / HOOK_FILE, read_json(tmp_path / HOOK_FILE) | {"format_version": 2})
    with pytest.raises(IntegrityError, match="format_version must be 1"):
        load_hook(tmp_path, trained_llama())


def test_a_selector_of_ones_own_cannot_be_written(tmp_path):
    method = ECOPrompts(search=None, strength=3.0, select=lambda tokens: [True] * len(tokens))
    with pytest.raises(ConfigError, match="selector of tokens cannot be written"):
        write_hook(tmp_path, unlearned_by(method))
