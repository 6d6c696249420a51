"""Cross-entropy of the output layer, a chunk of tokens at a time: no logits of all tokens.

Dimensions: T tokens, C tokens per chunk, D model dim, V vocabulary.

The logits are by far the largest activation of a small model with a large vocabulary. Here they
exist for one chunk at a time: where gradients will be wanted, the forward pass makes them of each
chunk while its logits are there. So nothing is computed twice, and what is kept is the gradient of
the weight, which the backward pass would make anyway. The method is that of Liger Kernel's fused
linear cross-entropy (arXiv 2410.10989, section 3.2). torch's own `functional.linear_cross_entropy`
(2.13) rounds the loss of bf16 inputs to bf16.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from megatron.core.models.gpt.gpt_model import GPTModel
from torch import Tensor
from torch.autograd.function import once_differentiable

from nulls_dist.model.counts import tokens_per_chunk


class ChunkedLossGPT(GPTModel):  # type: ignore[misc]
    """Megatron's model; given a loss mask, it sums the loss without the logits of all tokens."""

    def _postprocess(self, hidden_states: Tensor, **inputs: Any) -> Tensor:
        """Return the sum of the losses under the mask; without a mask what Megatron returns."""
        labels, mask = inputs["labels"], inputs["loss_mask"]
        if mask is None or self.config.tensor_model_parallel_size > 1:
            # A vocabulary cut over ranks has Megatron's vocab_parallel_cross_entropy.
            result: Tensor = super()._postprocess(hidden_states, **inputs)
            return result if mask is None else (result * mask).sum()
        tied = self.share_embeddings_and_output_weights
        output = self.embedding.word_embeddings if tied else self.output_layer
        return chunked_cross_entropy(
            hidden_states.squeeze(1),
            output.weight,
            labels.squeeze(0),
            mask.squeeze(0),
            chunk_tokens=tokens_per_chunk(self.vocab_size),
        )


def chunked_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, mask: Tensor, *, chunk_tokens: int
) -> Tensor:
    """Return the sum of the negative log-likelihoods of the targets.

    Products are made in the dtype of the inputs; softmax, loss and the sum of the weight's
    gradient over chunks are float32.

    Args:
        hidden: (T, D) what the last layer says.
        weight: (V, D) of the output layer, same dtype.
        targets: (T,) int64.
        mask: (T,) float32, weight of each target in the sum.
        chunk_tokens: C, at most.

    Returns:
        () float32 nats. Its gradient can be taken once.
    """
    needed = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    total: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, mask, chunk_tokens, needed
    )
    return total


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of -log softmax(hidden @ weight.T)[target]; its gradients are ready before backward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        mask: Tensor,
        chunk_tokens: int,
        needs_gradients: bool,
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradients = None
        if needs_gradients:
            gradients = torch.empty_like(hidden), torch.zeros_like(weight, dtype=torch.float32)
            ctx.save_for_backward(*gradients)
        for chunk in _chunks(len(hidden), chunk_tokens):
            # In a function, so that its logits are gone before the next ones are made.
            total += _run_chunk(hidden, weight, targets, mask, chunk, gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        (grad,) = grads
        # In place: autograd notices if somebody asks a second time.
        scaled = grad_weight.mul_(grad).to(grad_hidden.dtype)
        return grad_hidden.mul_(grad), scaled, None, None, None, None


def _chunks(num_tokens: int, largest: int) -> Iterator[slice]:
    """Cut the tokens evenly: products with few rows are slower and less exact."""
    size = math.ceil(num_tokens / math.ceil(num_tokens / largest))
    return (slice(begin, begin + size) for begin in range(0, num_tokens, size))


def _run_chunk(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    mask: Tensor,
    chunk: slice,
    gradients: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Return the loss of a chunk and, where they are wanted, fill in and add up its gradients."""
    logits = (hidden[chunk] @ weight.T).float()
    normalizers = logits.logsumexp(-1, keepdim=True)
    chosen = logits.gather(-1, targets[chunk, None])
    if gradients is not None:
        grad_hidden, grad_weight = gradients
        # d loss / d logits = (softmax - onehot(target)) * mask, in place of the logits
        errors = logits.sub_(normalizers).exp_()
        errors.scatter_add_(-1, targets[chunk, None], -torch.ones_like(chosen))
        errors = errors.mul_(mask[chunk, None]).to(hidden.dtype)
        grad_hidden[chunk] = errors @ weight
        _add_product(grad_weight, errors.T, hidden[chunk])
    return ((normalizers - chosen).squeeze(-1) * mask[chunk]).sum()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product to a float32 sum; of float32 without holding it."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
