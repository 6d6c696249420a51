"""Sparse compute equals dense-and-mask, forward and in every gradient."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nulls_dist.routing.plan import build_plan
from nulls_dist.segments import SegmentLayout
from tests.oracles import dense_and_mask, sink_masks
from tests.small_models import layout_of, random_router, relative_error, small_config, whole_model

CONFIG = small_config()
FP32 = 1e-5
"""Largest error over scale; sums of 64 and 512 terms in another order."""
BF16 = 1.5e-2
"""bf16 keeps 8 bits: half a unit is 2e-3, and several roundings follow. Measured: 9e-3."""
LAYER = 1
PARTS = ("gate", "up", "down")

LAYOUTS = {
    "one document": layout_of([40], [1]),
    "repeated sources": layout_of([7, 9, 7, 30], [5, 5, 8, 5]),
    "one-token segments": layout_of([1, 1, 12, 1], [1, 2, 3, 2]),
    "many segments": layout_of([1 + n % 5 for n in range(200)], [n % 60 for n in range(200)]),
}


def run_sparse(
    x: Tensor, weights: dict[str, Tensor], layout: SegmentLayout, dropped: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a pool of these weights; return its output and the gradients of a weighted sum of it."""
    from nulls_dist.model.sink_pool import SinkPool

    topology = whole_model(CONFIG)
    pool = SinkPool(CONFIG, topology).to(x.dtype)
    with torch.no_grad():
        for part in PARTS:
            getattr(pool, part).copy_(weights[part])
    x = x.clone().requires_grad_()
    plan = build_plan(
        random_router(CONFIG), layout, local_experts=topology.local_experts, dropped=dropped
    )
    output = pool(x, plan, LAYER)
    output.backward(output_weights(output))
    return output.detach(), {"x": x.grad} | {part: getattr(pool, part).grad for part in PARTS}


def run_dense(
    x: Tensor, weights: dict[str, Tensor], layout: SegmentLayout, dropped: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the oracle in float64."""
    leaves = {name: value.double().requires_grad_() for name, value in ({"x": x} | weights).items()}
    mask = sink_masks(random_router(CONFIG), layout, dropped)[LAYER].double()
    output = dense_and_mask(*leaves.values(), mask)
    output.backward(output_weights(output))
    return output.detach(), {name: leaf.grad for name, leaf in leaves.items()}


def output_weights(output: Tensor) -> Tensor:
    """A gradient that is the same for every token, and exact in bf16."""
    ramp = torch.arange(output.size(1), dtype=output.dtype).remainder(7) - 2
    return (ramp / 4).repeat(len(output), 1)


def random_inputs(layout: SegmentLayout, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
    draws = torch.Generator().manual_seed(layout.num_tokens)
    shape = (CONFIG.num_experts * CONFIG.num_sinks, CONFIG.hidden_size)
    weights = {part: (torch.randn(shape, generator=draws) / 8).to(dtype) for part in PARTS}
    return torch.randn(layout.num_tokens, shape[1], generator=draws).to(dtype), weights


def check_equal(layout: SegmentLayout, dtype: torch.dtype, bound: float, dropped: Any) -> None:
    x, weights = random_inputs(layout, dtype)
    output, gradients = run_sparse(x, weights, layout, dropped)
    expected, expected_gradients = run_dense(x, weights, layout, dropped)
    assert output.dtype == dtype
    assert relative_error(output, expected) <= bound
    for name, gradient in gradients.items():
        assert relative_error(gradient, expected_gradients[name]) <= bound, name


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, FP32), (torch.bfloat16, BF16)])
@pytest.mark.parametrize("drop", [False, True])
def test_sparse_equals_dense_and_mask(
    name: str, dtype: torch.dtype, bound: float, drop: bool
) -> None:
    layout = LAYOUTS[name]
    dropped = np.arange(layout.num_segments) % 3 == 1 if drop else None
    check_equal(layout, dtype, bound, dropped)


@settings(max_examples=30)
@given(
    segments=st.lists(
        st.tuples(st.integers(1, 20), st.integers(0, 8), st.booleans()), min_size=1, max_size=12
    )
)
def test_sparse_equals_dense_and_mask_for_any_layout(
    segments: list[tuple[int, int, bool]],
) -> None:
    lengths, sources, dropped = zip(*segments, strict=True)
    check_equal(layout_of(lengths, sources), torch.float32, FP32, np.array(dropped))


def test_dropped_documents_get_nothing_and_give_nothing() -> None:
    layout = LAYOUTS["repeated sources"]
    x, weights = random_inputs(layout, torch.float32)
    output, gradients = run_sparse(x, weights, layout, np.ones(4, dtype=bool))
    assert not output.any()
    assert not any(gradient.any() for gradient in gradients.values())


def test_the_graph_has_the_same_shape_whatever_is_dropped() -> None:
    layout = LAYOUTS["many segments"]
    plans = [
        build_plan(random_router(CONFIG), layout, local_experts=range(2), dropped=dropped)
        for dropped in (None, np.ones(200, dtype=bool))
    ]
    assert plans[0].rows.shape == plans[1].rows.shape == (2, 200 * CONFIG.num_active)
    assert torch.equal(plans[0].ends, plans[1].ends)


def test_gradients_of_2048_segments_of_one_source_add_up_in_float32() -> None:
    layout = layout_of([1] * 2048, [3] * 2048)
    x, weights = random_inputs(layout, torch.bfloat16)
    x = x[:1].repeat(2048, 1)  # every segment adds the same term
    _, gradients = run_sparse(x, weights, layout, None)
    _, expected = run_dense(x, weights, layout, None)
    for part in PARTS:
        assert relative_error(gradients[part], expected[part]) <= BF16, part


def test_gathered_rows_do_not_stall_where_plain_indexing_does() -> None:
    from nulls_dist.model.sink_pool import _GatherRows

    weight = torch.zeros(4, 8, dtype=torch.bfloat16, requires_grad=True)
    rows = torch.full((2048,), 2)
    term = torch.full((2048, 8), 1.0, dtype=torch.bfloat16)
    _GatherRows.apply(weight, rows).backward(term)
    assert torch.equal(weight.grad[2], torch.full((8,), 2048.0, dtype=torch.bfloat16))
    weight.grad = None
    weight[rows].backward(term)
    assert float(weight.grad[2, 0]) == 256.0
