"""A small Llama of transformers that has learned a few texts, and a request to forget some."""

from functools import cache

import torch
from torch import Tensor, nn

from nulls_dist.posthoc.contract import Example, Request
from nulls_dist.posthoc.evaluation import mean_nll

VOCAB = 11
PROMPT, LENGTH = 2, 5
"""Tokens of every prompt, and of every prompt with its answer."""

FORGET = tuple(
    Example(tokens=tokens, start=PROMPT)
    for tokens in ((1, 2, 3, 4, 5), (2, 5, 1, 1, 6), (3, 7, 6, 2, 2), (4, 1, 5, 7, 3))
)
RETAIN = tuple(
    Example(tokens=tokens, start=PROMPT)
    for tokens in ((5, 6, 7, 1, 2), (6, 3, 3, 2, 7), (7, 4, 2, 6, 1), (1, 6, 4, 4, 5))
)
REQUEST = Request(
    forget_text=FORGET,
    forget_prompts=tuple(example.tokens[:PROMPT] for example in FORGET),
    retain_text=RETAIN,
    retain_prompts=tuple(example.tokens[:PROMPT] for example in RETAIN),
    source_ids=(17,),
)
REFUSALS = ((9, 8, 10), (10, 8, 9))
"""As long as the answers, so that costs are easy to tell."""


def build_llama(**changes: object) -> nn.Module:
    """An untrained one, with the same weights every time."""
    from transformers import LlamaConfig, LlamaForCausalLM

    settings: dict[str, object] = {
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "tie_word_embeddings": True,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval()


@cache
def _learned() -> dict[str, Tensor]:
    model = build_llama()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    examples = FORGET + RETAIN
    tokens = torch.tensor([example.tokens for example in examples])
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(model(input_ids=tokens, labels=tokens).loss)
        optimizer.step()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def trained_llama() -> nn.Module:
    """One that has learned the texts."""
    model = build_llama()
    model.load_state_dict(_learned())
    return model


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of its parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def equal_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether all bits agree."""
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def forget_nll(model: object) -> dict[str, float]:
    """An evaluation: nats per token of the texts to forget, under the name "remembered"."""
    return {"remembered": -mean_nll(model, FORGET)}
