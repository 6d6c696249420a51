"""Expected speed: a stated model, so worked out by hand."""

import pytest

from nulls_dist.config.presets import load_preset
from nulls_dist.model.counts import count_model
from nulls_dist.model.throughput import expect_tokens_per_s
from nulls_dist.parallel.gpus import GPUS
from nulls_dist.parallel.topology import Topology


def expected(dp, gpu, tp=1, **options):
    topology = Topology(dp=dp, ep=2, rank=0, num_experts=2, tp=tp)
    return expect_tokens_per_s(load_preset("nulls_1b"), topology, GPUS[gpu], **options)


def test_matrix_products_bound_a_large_batch():
    """524,288 tokens per step: Adam's traffic costs less than 3 % of the step."""
    bound = 2 * 312e12 * 0.40 / count_model(load_preset("nulls_1b").model).flops_per_token
    assert bound * 0.97 < expected(2, "a100") < bound


def test_recomputation_costs_a_third_forward_pass():
    bound = expected(2, "a100") / expected(2, "a100", recompute=True)
    assert bound == pytest.approx(4 / 3, rel=0.01)


def test_a_faster_memory_alone_helps_little():
    assert 1.0 < expected(8, "h200") / expected(8, "h100") < 1.05


def test_tensor_parallel_ranks_share_the_products_but_not_the_sinks_update():
    assert expected(2, "h200") < expected(2, "h200", tp=2) < 2 * expected(2, "h200")
