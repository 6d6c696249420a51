"""Methods that train adapters alone."""

import importlib
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from nulls_dist.errors import ConfigError, InputError
from nulls_dist.posthoc.causal_model import next_token_logits
from nulls_dist.posthoc.gradient_methods import NPO
from nulls_dist.posthoc.lora import LoRA, merged, with_adapters
from nulls_dist.posthoc.plan import Plan
from nulls_dist.posthoc.runner import run
from tests.tiny_llama import FORGET, REQUEST, equal_weights, trained_llama, weights_of

PLAN = Plan(max_steps=3, learning_rate=1e-2)
TARGETS = ("q_proj", "down_proj")


class Adapted(nn.Module):
    """What peft puts in a linear layer's place."""

    def __init__(self, base_layer, config):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.lora_A = nn.Linear(base_layer.in_features, config["r"], bias=False)
        self.lora_B = nn.Linear(config["r"], base_layer.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.scaling = config["lora_alpha"] / config["r"]

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling

    def merge(self):
        with torch.no_grad():
            product = self.lora_B.weight @ self.lora_A.weight
            self.base_layer.weight += product * self.scaling
        return self.base_layer


class PeftModel(nn.Module):
    """What peft documents of a model with adapters, and is used here."""

    def __init__(self, model, config):
        super().__init__()
        self.base_model = model.requires_grad_(False)
        assert config["task_type"] == "CAUSAL_LM"
        assert config["lora_dropout"] == 0
        for name, layer in list(model.named_modules()):
            if isinstance(layer, nn.Linear) and name.endswith(tuple(config["target_modules"])):
                self._put(name, Adapted(layer, config))

    def _put(self, name, module):
        parent, _, last = name.rpartition(".")
        setattr(self.base_model.get_submodule(parent), last, module)

    def forward(self, input_ids):
        return self.base_model(input_ids=input_ids)

    def merge_and_unload(self):
        for name, module in list(self.base_model.named_modules()):
            if isinstance(module, Adapted):
                self._put(name, module.merge())
        return self.base_model


@pytest.fixture(params=["stand-in", "peft"])
def peft(request, monkeypatch):
    """peft where it is installed, and what its documentation says of it."""
    if request.param == "peft":
        return pytest.importorskip("peft")
    module = ModuleType("peft")
    module.LoraConfig = dict
    module.get_peft_model = PeftModel
    module.PeftModel = PeftModel
    monkeypatch.setitem(sys.modules, "peft", module)
    return importlib.import_module("peft")


def said(model):
    with torch.no_grad():
        return next_token_logits(model, torch.tensor([each.tokens for each in FORGET]))


@pytest.mark.usefixtures("peft")
def test_adapters_alone_are_trained_and_merged_into_the_weights():
    before = weights_of(trained_llama())
    model = with_adapters(trained_llama(), LoRA(rank=2, alpha=4, targets=TARGETS))
    assert torch.equal(said(model), said(trained_llama())), "B is 0"
    outcome = run(model, NPO(), REQUEST, PLAN)
    trainable = [name for name, each in model.named_parameters() if each.requires_grad]
    assert len(trainable) == 2 * 2 * len(TARGETS)
    assert all("lora_" in name for name in trainable)
    assert outcome.record.sanity.num_changed_tensors == len(trainable)
    answers = said(outcome.model)
    assert not torch.equal(answers, said(trained_llama()))
    plain = merged(outcome.model)
    torch.testing.assert_close(said(plain), answers, rtol=1e-5, atol=1e-5)
    after = weights_of(plain)
    assert after.keys() == before.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.removesuffix(".weight").endswith(TARGETS)}


@pytest.mark.usefixtures("peft")
def test_the_seed_decides_the_adapters():
    def adapters(seed):
        torch.rand(1)  # another state of the global generator every time
        lora = LoRA(targets=TARGETS, seed=seed)
        return weights_of(with_adapters(trained_llama(), lora))

    assert equal_weights(adapters(3), adapters(3))
    assert not equal_weights(adapters(3), adapters(4))


@pytest.mark.usefixtures("peft")
def test_a_model_without_adapters_cannot_be_merged():
    with pytest.raises(InputError, match="LlamaForCausalLM has no adapters to merge"):
        merged(trained_llama())


def test_the_remedy_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"pip install 'nulls-dist\[lora\]'"):
        with_adapters(trained_llama(), LoRA())


@pytest.mark.parametrize("name", ["rank", "alpha"])
def test_sizes_are_at_least_one(name):
    with pytest.raises(ConfigError, match=rf"{name} \(0\) must be at least 1"):
        LoRA(**{name: 0})
