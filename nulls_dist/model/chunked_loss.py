"""Cross-entropy of the output layer, a chunk of tokens at a time: no logits of all tokens.

Dimensions: T tokens, C tokens per chunk, D model dim, V vocabulary.

The logits are by far the largest activation of a small model with a large vocabulary. Here they
exist for one chunk at a time and are computed again in the backward pass, one product in four
more. torch's own `functional.linear_cross_entropy` (2.13) rounds the losses of bf16 inputs to
bf16, and adds the gradient of the weight up in it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from megatron.core.models.gpt.gpt_model import GPTModel
from torch import Tensor
from torch.autograd.function import once_differentiable

from nulls_dist.model.counts import tokens_per_chunk


class ChunkedLossGPT(GPTModel):  # type: ignore[misc]
    """Megatron's model; the loss is computed without the logits of all tokens."""

    def _postprocess(self, hidden_states: Tensor, **inputs: Any) -> Tensor:
        """Return (1, T) losses, or logits where there are no labels."""
        labels = inputs["labels"]
        if labels is None or self.config.tensor_model_parallel_size > 1:
            # A vocabulary cut over ranks has Megatron's vocab_parallel_cross_entropy.
            logits_or_losses: Tensor = super()._postprocess(hidden_states, **inputs)
            return logits_or_losses
        tied = self.share_embeddings_and_output_weights
        output = self.embedding.word_embeddings if tied else self.output_layer
        return chunked_cross_entropy(
            hidden_states.squeeze(1),
            output.weight,
            labels.squeeze(0),
            chunk_tokens=tokens_per_chunk(self.vocab_size),
        )[None]


def chunked_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk_tokens: int
) -> Tensor:
    """Return the negative log-likelihood of every target.

    Products are made in the dtype of the inputs; softmax, losses and the sum of the weight's
    gradient over chunks are float32.

    Args:
        hidden: (T, D) what the last layer says.
        weight: (V, D) of the output layer, same dtype.
        targets: (T,) int64.
        chunk_tokens: C.

    Returns:
        (T,) float32 nats.
    """
    losses: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, chunk_tokens
    )
    return losses


class _ChunkedCrossEntropy(torch.autograd.Function):
    """-log softmax(hidden @ weight.T)[target]."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk_tokens: int
    ) -> Tensor:
        normalizers = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        losses = torch.empty_like(normalizers)
        for chunk in _chunks(len(hidden), chunk_tokens):
            logits = (hidden[chunk] @ weight.T).float()
            normalizers[chunk] = logits.logsumexp(-1)
            chosen = logits.gather(-1, targets[chunk, None]).squeeze(-1)
            losses[chunk] = normalizers[chunk] - chosen
        ctx.save_for_backward(hidden, weight, targets, normalizers)
        ctx.chunk_tokens = chunk_tokens
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Use d loss / d logits = softmax - onehot(target)."""
        hidden, weight, targets, normalizers = ctx.saved_tensors
        (grad,) = grads
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        for chunk in _chunks(len(hidden), ctx.chunk_tokens):
            errors = (hidden[chunk] @ weight.T).float()
            errors.sub_(normalizers[chunk, None]).exp_()
            errors.scatter_add_(-1, targets[chunk, None], -errors.new_ones(len(errors), 1))
            scaled = errors.mul_(grad[chunk, None]).to(hidden.dtype)
            grad_hidden[chunk] = scaled @ weight
            grad_weight += scaled.T @ hidden[chunk]
        return grad_hidden, grad_weight.to(weight.dtype), None, None


def _chunks(num_tokens: int, size: int) -> Iterator[slice]:
    return (slice(begin, begin + size) for begin in range(0, num_tokens, size))
