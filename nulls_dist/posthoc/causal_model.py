"""The little that is asked of a model, and its weights at a given moment.

A model is a `torch.nn.Module` that takes `input_ids` (B, T) int64 by name and returns next-token
logits (B, T, V), or an object whose `logits` they are, as transformers does. It is causal: what
stands behind a token does not change the token's logits, so padding on the right needs no mask.
What methods make around a model may treat prompts otherwise than what follows them: a
`PromptReader` is told where they end.
"""

import difflib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nulls_dist.errors import ConfigError, InputError
from nulls_dist.posthoc.batches import pad
from nulls_dist.sources import NO_SOURCE


class PromptReader(nn.Module, ABC):
    """A model that treats prompts otherwise than what follows them."""

    @abstractmethod
    def forward(
        self,
        input_ids: Tensor,
        prompt_lengths: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Return (B, T, V) logits.

        Args:
            input_ids: (B, T), padded on the right.
            prompt_lengths: tokens of each prompt; None where texts are prompts and nothing else.
            lengths: tokens of each text without padding; None where nothing is padded.
        """


def next_token_logits(
    model: nn.Module,
    input_ids: Tensor,
    *,
    prompt_lengths: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
) -> Tensor:
    """Return (B, T, V) logits of (B, T) tokens; the lengths are as a `PromptReader` takes them."""
    if isinstance(model, PromptReader):
        said: Tensor = model(input_ids, prompt_lengths=prompt_lengths, lengths=lengths)
        return said
    return _logits_in(model(input_ids=input_ids))


def _logits_in(output: Any) -> Tensor:
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's first parameter is."""
    return next(model.parameters()).device


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers a model's parameters hold, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Ask a model in evaluation mode and without gradients, then leave it in its former mode."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@contextmanager
def own_random_numbers(device: torch.device) -> Iterator[None]:
    """Give torch's global generators, which dropout draws from, back as they were."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        yield


class Snapshot:
    """The parameters of a model at one moment: a model of their own, which never learns.

    Buffers are taken to be constant. Costs the memory of one copy of the parameters.
    """

    def __init__(self, model: nn.Module) -> None:
        self.weights: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters()
        }

    def logits(self, model: nn.Module, input_ids: Tensor) -> Tensor:
        """Return the logits that the model of these weights gives, without gradients.

        Args:
            model: the one it was taken of.
            input_ids: (B, T).
        """
        with evaluating(model):
            return logits_with(model, self.weights, input_ids)

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Give a model these weights."""
        for name, parameter in model.named_parameters():
            parameter.copy_(self.weights[name])


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Return a digest of names, types, shapes and bits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        bits = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(bits.numpy().tobytes())
    return digest.hexdigest()


def logits_with(model: nn.Module, weights: Mapping[str, Tensor], input_ids: Tensor) -> Tensor:
    """Return the logits that a model would give with other parameters, by name."""
    output = torch.func.functional_call(model, dict(weights), (), {"input_ids": input_ids})
    return _logits_in(output)


def layer_of(model: nn.Module, name: str) -> nn.Module:
    """Return a submodule by its dotted name.

    Raises:
        ConfigError: there is none.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if not name or name not in modules:
        near = difflib.get_close_matches(name, modules, n=3)
        raise ConfigError(
            f"the model has no layer {name!r}; the nearest names are {', '.join(near) or 'none'}"
        )
    return modules[name]


def layer_output(layer: nn.Module, run: Callable[[], object]) -> Tensor:
    """Return what a layer said last while something ran; of several outputs the first."""
    said: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        said.append(output[0] if isinstance(output, tuple) else output)

    handle = layer.register_forward_hook(keep)
    try:
        run()
    finally:
        handle.remove()
    assert said, "the layer takes part in the forward pass"
    return said[-1]


class Answers:
    """A model as the measures of `eval` ask it: `LanguageModel` and `PromptedModel`."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        """Return next-token logits, (tokens, V) per text, on the CPU; texts are prompts.

        Raises:
            InputError: a source is named, but the model has no sinks.
        """
        return self.logits_after(texts, source_ids, [len(text) for text in texts])

    def logits_after(
        self,
        texts: Sequence[Sequence[int]],
        source_ids: Sequence[int],
        prompt_lengths: Sequence[int],
    ) -> list[Tensor]:
        """Return next-token logits of prompts with their answers; errors likewise."""
        if any(source_id != NO_SOURCE for source_id in source_ids):
            raise InputError("this model has no sinks to choose from; ask it without a source")
        lengths = [len(text) for text in texts]
        with evaluating(self._model):
            logits = next_token_logits(
                self._model,
                pad(texts).to(device_of(self._model)),
                prompt_lengths=prompt_lengths,
                lengths=lengths,
            ).cpu()
        return [rows[:length] for rows, length in zip(logits, lengths, strict=True)]
