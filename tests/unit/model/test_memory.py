"""Memory of a rank: numbers worked out by hand, and what autograd really keeps."""

from dataclasses import replace

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from nulls_dist.benchmark.memory import saved_bytes
from nulls_dist.config.deepspeed import ZeroSettings
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import load_preset
from nulls_dist.model.counts import count_model
from nulls_dist.model.memory import count_activations, count_rank_memory
from nulls_dist.parallel.topology import Topology
from tests.small_models import (
    build_small_model,
    layout_of,
    one_process,
    random_tokens,
    small_config,
)

TOPOLOGY = Topology(dp=4, ep=2, rank=0, num_experts=2)
ZERO1 = ZeroSettings(stage=1, bucket_elements=1000, num_buckets=1, offloads_optimizer=False)
ZERO2 = replace(ZERO1, stage=2)


def run_config(*assignments):
    return apply_overrides(
        load_preset("nulls_tiny"),
        ["model.vocab_size=61", "train.global_batch_rows=16", *assignments],
    )


def memory_of(zero, *assignments, tp=1, **changes):
    options = {"num_segments": 4, "on_gpu": True} | changes
    return count_rank_memory(run_config(*assignments), replace(TOPOLOGY, tp=tp), zero, **options)


# The tiny preset on 4 ranks, 2 of which share each expert: a rank holds all dense parameters and
# half of the sinks, and owns a quarter of everything.
COUNTS = count_model(run_config().model)
DENSE, SINKS = COUNTS.backbone_parameters, COUNTS.sink_parameters
HELD, OWNED = DENSE + SINKS // 2, DENSE // 4 + SINKS // 4


@pytest.mark.parametrize(
    ("dtype", "zero", "weights", "gradients"),
    [
        ("fp32", ZERO1, 4 * HELD, 4 * HELD),
        ("bf16", ZERO1, 2 * HELD, (2 + 4) * HELD),
        ("fp32", ZERO2, 4 * HELD, 4 * OWNED),
        ("bf16", ZERO2, 2 * HELD, 4 * OWNED),
    ],
)
def test_state_of_a_rank_by_hand(dtype, zero, weights, gradients):
    memory = memory_of(zero, f"train.dtype={dtype}")
    assert memory.weights == weights
    assert memory.gradients == gradients
    assert memory.optimizer == 12 * OWNED
    assert memory.total == weights + gradients + 12 * OWNED
    assert memory.host == 0


def test_an_offloaded_optimizer_lies_in_the_hosts_memory():
    memory = memory_of(replace(ZERO2, offloads_optimizer=True), "train.dtype=bf16")
    assert memory.optimizer == memory.step == 0
    assert memory.host == (12 + 4 + 2) * OWNED


def test_tensor_parallelism_divides_dense_matrices_heads_and_vocabulary():
    whole, half = (memory_of(ZERO1, "train.dtype=bf16", tp=tp) for tp in (1, 2))
    norms = (2 * 2 + 1) * 64
    assert half.weights == 2 * (norms + (DENSE - norms) // 2 + SINKS // 2)
    assert half.logits == 2 * memory_of(ZERO1, "train.dtype=bf16", tp=4).logits
    tokens, layers = 2 * 128, 2
    divided = tokens * layers * ((3 * 4 + 3 * 2) * 16 * 2 + 4 * 4 + 5 * 64 * 2)
    output_gradient = 4 * 61 * 64  # made ahead of time where the vocabulary is whole
    assert whole.activations - half.activations == divided // 2 + output_gradient


def test_the_peak_is_that_of_the_larger_phase():
    memory = memory_of(ZERO1, "train.dtype=bf16")
    batch = memory.buffers + memory.activations + memory.logits
    assert batch > memory.step > 0
    assert memory.peak == memory.total + batch
    stepping = replace(memory, step=batch + 1)
    assert stepping.peak == memory.total + batch + 1


@pytest.mark.parametrize(("vocab_size", "tokens"), [(61, 100), (1 << 20, 64)])
def test_logits_are_those_of_a_chunk_twice_and_with_a_cut_vocabulary_whole(vocab_size, tokens):
    """256 MiB of float32 logits over 2^20 words are 64 tokens."""
    config = replace(small_config(), vocab_size=vocab_size)
    common = {"num_tokens": 100, "num_segments": 1, "on_gpu": True}
    for dtype in ("fp32", "bf16"):
        _, logits = count_activations(config, dtype=dtype, **common)
        assert logits == 2 * tokens * vocab_size * 4
        _, cut = count_activations(config, dtype=dtype, tp=2, **common)
        assert cut == 100 * vocab_size * 4 // 2


LENGTHS = [40, 60, 100, 56]


def saved_by_autograd(small, layout, dtype):
    small.model.to(dtype)
    tokens = random_tokens(layout, small.config)
    with saved_bytes(small.model.parameters()) as saved:
        small.loss_sum(layout, tokens).backward()
    return saved.peak


@pytest.mark.parametrize(("dtype", "name"), [(torch.float32, "fp32"), (torch.bfloat16, "bf16")])
def test_activations_are_what_autograd_keeps_on_a_cpu(dtype, name):
    config = small_config(num_active=16, num_backbone=96, num_heads=6, head_dim=24)
    layout = layout_of(LENGTHS, [1, 2, 3, 4])
    with one_process(config) as topology:
        measured = saved_by_autograd(build_small_model(config, topology), layout, dtype)
    counted = count_activations(config, dtype=name, num_tokens=256, num_segments=4, on_gpu=False)
    assert counted[0] == pytest.approx(measured, rel=0.025)


def test_recomputed_layers_keep_their_inputs_and_one_layer_at_a_time():
    """torch's own recomputation around every layer.

    The count is an upper bound: it has both the head, gone when layers come back, and a layer.
    """
    config = small_config(num_layers=6)
    layout = layout_of(LENGTHS, [1, 2, 3, 4])
    with one_process(config) as topology:
        small = build_small_model(config, topology)
        for layer in small.model.decoder.layers:
            layer.forward = recomputed(layer.forward)
        measured = saved_by_autograd(small, layout, torch.float32)
    common = {"dtype": "fp32", "num_tokens": 256, "num_segments": 4, "on_gpu": False}
    activations, logits = count_activations(config, recompute=True, **common)
    assert measured <= activations + logits
    assert activations <= measured * 1.2
    assert activations < count_activations(config, **common)[0] / 2


def recomputed(forward):
    def wrapped(**inputs):
        hidden = inputs.pop("hidden_states")
        return checkpoint(lambda value: forward(value, **inputs), hidden, use_reentrant=True)

    return wrapped
