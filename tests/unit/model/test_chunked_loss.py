"""The loss by chunks of tokens: the same losses and gradients, a fraction of the memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nulls_dist.model.chunked_loss import chunked_cross_entropy
from nulls_dist.model.counts import tokens_per_chunk
from nulls_dist.model.gpt import loss_sum, token_logits
from nulls_dist.parallel.topology import Topology
from tests.small_models import (
    build_small_model,
    layout_of,
    random_tokens,
    relative_error,
    small_config,
    targets_of,
)

NUM_TOKENS, WIDTH, VOCAB = 37, 16, 61
EVERYWHERE = torch.ones(NUM_TOKENS)
LAYOUT = layout_of([5, 11, 1, 16, 7, 24], [101, 7, 101, 55, 900, 55])


def inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    hidden = torch.randn(NUM_TOKENS, WIDTH, generator=draws).to(dtype).requires_grad_()
    weight = torch.randn(VOCAB, WIDTH, generator=draws).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(VOCAB, (NUM_TOKENS,), generator=draws)


@pytest.mark.parametrize("chunk_tokens", [1, 5, 36, 37, 1000])
def test_loss_and_gradients_are_those_of_whole_logits_in_float64(chunk_tokens: int) -> None:
    hidden, weight, targets = inputs(torch.float32)
    mask = torch.rand(NUM_TOKENS, generator=torch.Generator().manual_seed(1)) - 0.3
    exact = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight)]
    losses = functional.cross_entropy(exact[0] @ exact[1].T, targets, reduction="none")
    expected = (losses * mask).sum()
    (expected * 0.7).backward()
    total = chunked_cross_entropy(hidden, weight, targets, mask, chunk_tokens=chunk_tokens)
    (total * 0.7).backward()
    assert total.dtype == torch.float32
    assert relative_error(total, expected) <= 1e-6
    for found, reference in zip((hidden, weight), exact, strict=True):
        assert relative_error(found.grad, reference.grad) <= 1e-6


def test_gradients_of_bf16_are_bf16_and_the_loss_is_not_rounded_to_it() -> None:
    hidden, weight, targets = inputs(torch.bfloat16)
    total = chunked_cross_entropy(hidden, weight, targets, EVERYWHERE, chunk_tokens=8)
    total.backward()
    logits = (hidden @ weight.T).detach().double().requires_grad_()
    expected = functional.cross_entropy(logits, targets, reduction="sum")
    assert relative_error(total, expected) <= 1e-6
    expected.backward()
    assert weight.grad.dtype == hidden.grad.dtype == torch.bfloat16
    assert relative_error(hidden.grad, logits.grad @ weight.double()) <= 2e-2
    assert relative_error(weight.grad, logits.grad.T @ hidden.double()) <= 2e-2


def test_many_small_bf16_gradients_add_up_over_chunks() -> None:
    """In bf16, 256 + 1 is 256: a sum over 1,024 chunks would stall at a quarter."""
    hidden = torch.ones(1024, 8, dtype=torch.bfloat16)
    weight = torch.zeros(2, 8, dtype=torch.bfloat16).requires_grad_()
    targets = torch.zeros(1024, dtype=torch.int64)
    mask = torch.ones(1024)
    chunked_cross_entropy(hidden, weight, targets, mask, chunk_tokens=1).backward()
    assert weight.grad[:, 0].tolist() == [-512.0, 512.0]


def test_without_gradients_the_loss_is_the_same_and_nothing_is_kept() -> None:
    hidden, weight, targets = inputs(torch.float32)
    with_gradients = chunked_cross_entropy(hidden, weight, targets, EVERYWHERE, chunk_tokens=8)
    with torch.no_grad(), saved_bytes() as saved:
        without = chunked_cross_entropy(hidden, weight, targets, EVERYWHERE, chunk_tokens=8)
    assert torch.equal(with_gradients, without)
    assert saved == {}


def test_a_second_backward_pass_is_refused_instead_of_wrong() -> None:
    hidden, weight, targets = inputs(torch.float32)
    total = chunked_cross_entropy(hidden, weight, targets, EVERYWHERE, chunk_tokens=8)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@contextmanager
def saved_bytes() -> Iterator[dict[int, int]]:
    """Sizes of the tensors that autograd keeps inside the block, by address."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield sizes


def test_gradients_are_kept_for_the_backward_pass_instead_of_logits() -> None:
    hidden, weight, targets = inputs(torch.float32)
    with saved_bytes() as whole:
        functional.cross_entropy(hidden @ weight.T, targets)
    with saved_bytes() as chunked:
        chunked_cross_entropy(hidden, weight, targets, EVERYWHERE, chunk_tokens=8)
    both = (hidden.numel() + weight.numel()) * 4
    assert sum(whole.values()) >= both + NUM_TOKENS * VOCAB * 4
    assert sum(chunked.values()) == both


def test_a_chunk_takes_a_bounded_amount_of_memory_whatever_the_vocabulary() -> None:
    assert tokens_per_chunk(49_152) == 1365  # 1365 * 49152 * 4 bytes: just below 256 MiB
    assert tokens_per_chunk(1 << 28) == 1


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_trains_as_with_megatrons_own_loss(topology: Topology, tied: bool) -> None:
    small = build_small_model(small_config(tied_embeddings=tied), topology)
    tokens = random_tokens(LAYOUT, small.config)
    targets = targets_of(tokens, LAYOUT)
    rows = small.rows(LAYOUT, small.plan(LAYOUT))
    has_target = torch.from_numpy(LAYOUT.has_target).float()
    logits = token_logits(small.model, tokens, rows)
    losses = small.model.compute_language_model_loss(targets[None], logits[:, None])[0]
    expected = (losses * has_target).sum()
    expected.backward()
    gradients = small.gradients()
    total = loss_sum(small.model, tokens, targets, has_target, rows)
    total.backward()
    assert relative_error(total, expected) <= 1e-6
    for name, gradient in small.gradients().items():
        assert relative_error(gradient, gradients[name]) <= 1e-6, name
