"""Continue a text, token by token.

Every token takes a forward pass over all tokens before it, without a cache of keys and values:
meant to look at small models, not to serve large ones.
"""

from collections.abc import Sequence
from typing import Final

import torch
from tqdm import tqdm

from nulls_dist.errors import ConfigError, InputError
from nulls_dist.eval.inference import InferenceModel

MAX_TEMPERATURE: Final = 100.0


def continue_text(
    model: InferenceModel,
    prompt: Sequence[int],
    *,
    source_id: int,
    num_tokens: int,
    eos_id: int,
    vocab_size: int,
    temperature: float,
    seed: int,
) -> list[int]:
    """Return the tokens that follow a prompt, up to the end of the document.

    Args:
        model: sees as many of the last tokens as its context holds.
        prompt: tokens, at least one.
        source_id: whose sinks serve the text; NO_SOURCE for the backbone alone.
        num_tokens: at most how many.
        eos_id: ends a document; not returned.
        vocab_size: of the tokenizer; the model's may be larger.
        temperature: 0 takes the likeliest token, otherwise logits are divided by it.
        seed: of the draws.

    Raises:
        ConfigError: the temperature is not from 0 to MAX_TEMPERATURE.
        InputError: the prompt has no token.
        RefusedError: the source was deleted.
    """
    if not 0 <= temperature <= MAX_TEMPERATURE:
        raise ConfigError(f"temperature ({temperature}) must be from 0 to {MAX_TEMPERATURE:.0f}")
    if not prompt:
        raise InputError("the prompt has no token; give some text to continue")
    draws = torch.Generator().manual_seed(seed)
    tokens = list(prompt)
    for _ in tqdm(range(num_tokens), desc="tokens", disable=None, leave=False):
        (logits,) = model.logits([tokens[-model.config.context_length :]], [source_id])
        last = logits[-1, :vocab_size].float()
        if temperature:
            weights = torch.softmax(last / temperature, 0)
            token = int(torch.multinomial(weights, 1, generator=draws))
        else:
            token = int(last.argmax())
        if token == eos_id:
            break
        tokens.append(token)
    return tokens[len(prompt) :]
