"""SinkPlan: rows inside the local pool, shapes that never depend on who is switched off."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nulls_dist.errors import RefusedError
from nulls_dist.routing.plan import build_plan
from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE

NUM_EXPERTS, NUM_SINKS, NUM_ACTIVE, NUM_LAYERS = 4, 64, 8, 3
SPEC = RouterSpec(
    seed=1,
    num_layers=NUM_LAYERS,
    num_experts=NUM_EXPERTS,
    num_sinks=NUM_SINKS,
    num_active=NUM_ACTIVE,
)
TABLE = (np.arange(NUM_BUCKETS) % NUM_EXPERTS).astype(np.uint16)
ROUTER = Router(SPEC, TABLE)


def sources_of(experts: range, count: int) -> np.ndarray:
    """The first ids whose experts are among the given ones."""
    ids = np.arange(count * NUM_EXPERTS * 4, dtype=np.uint64)
    return ids[np.isin(ROUTER.experts_of(ids), np.array(experts))][:count]


def layout_of(source_ids: np.ndarray) -> SegmentLayout:
    return SegmentLayout(
        lengths=tuple(range(1, len(source_ids) + 1)),
        source_ids=source_ids,
        doc_indices=np.zeros(len(source_ids), dtype=np.uint32),
    )


@pytest.mark.parametrize("local", [range(4), range(2), range(2, 4), range(3, 4)])
def test_rows_are_the_router_s_sinks_inside_the_local_pool(local):
    source_ids = sources_of(local, 6)
    plan = build_plan(ROUTER, layout_of(source_ids), local_experts=local)
    assert plan.num_active == NUM_ACTIVE
    assert plan.ends.tolist() == [1, 3, 6, 10, 15, 21]
    assert plan.ends.dtype == torch.int32
    rows = plan.rows.view(NUM_LAYERS, 6, NUM_ACTIVE)
    for segment, source_id in enumerate(source_ids):
        one = np.array([source_id])
        first_row = (int(ROUTER.experts_of(one)[0]) - local.start) * NUM_SINKS
        expected = ROUTER.active_sinks(one)[:, 0] + first_row
        assert np.array_equal(rows[:, segment].numpy(), expected)
    assert plan.rows.min() >= 0
    assert plan.rows.max() < len(local) * NUM_SINKS
    assert plan.keep.all()


def test_shapes_do_not_depend_on_who_is_dropped():
    layout = layout_of(sources_of(range(4), 5))
    masks = [None, *(np.array([n >> bit & 1 for bit in range(5)], dtype=bool) for n in range(32))]
    for dropped in masks:
        plan = build_plan(ROUTER, layout, local_experts=range(4), dropped=dropped)
        assert plan.rows.shape == plan.keep.shape == (NUM_LAYERS, 5 * NUM_ACTIVE)
        assert plan.rows.dtype == torch.int64
        assert plan.keep.dtype == torch.bool
        assert plan.rows.min() >= 0
        assert plan.rows.max() < NUM_EXPERTS * NUM_SINKS
        expected = np.ones(5, dtype=bool) if dropped is None else ~dropped
        keep = plan.keep.view(NUM_LAYERS, 5, NUM_ACTIVE).numpy()
        assert (keep == expected[None, :, None]).all()


def test_padding_keeps_its_place_with_every_sink_off():
    source_ids = sources_of(range(4), 3)
    source_ids[1] = NO_SOURCE
    plan = build_plan(ROUTER, layout_of(source_ids), local_experts=range(4))
    keep = plan.keep.view(NUM_LAYERS, 3, NUM_ACTIVE)
    assert not keep[:, 1].any()
    assert keep[:, ::2].all()


def test_a_batch_of_padding_alone_has_a_plan():
    layout = layout_of(np.full(4, NO_SOURCE, dtype=np.uint64))
    plan = build_plan(ROUTER, layout, local_experts=range(1, 2))
    assert plan.rows.shape == (NUM_LAYERS, 4 * NUM_ACTIVE)
    assert not plan.keep.any()


def test_the_mask_of_dropped_segments_is_left_alone():
    dropped = np.array([True, False])
    layout = layout_of(np.array([NO_SOURCE, 1], dtype=np.uint64))
    build_plan(ROUTER, layout, local_experts=range(4), dropped=dropped)
    assert dropped.tolist() == [True, False]


@pytest.mark.parametrize("local", [range(2), range(2, 4)])
def test_a_document_of_another_rank_s_expert_is_a_programming_error(local):
    others = range(2, 4) if local.start == 0 else range(2)
    layout = layout_of(sources_of(others, 1))
    with pytest.raises(AssertionError, match="placement puts every document on the rank"):
        build_plan(ROUTER, layout, local_experts=local)
    build_plan(ROUTER, layout, local_experts=local, dropped=np.array([True]))


def test_a_deleted_source_has_no_plan_unless_it_is_off():
    source_ids = sources_of(range(4), 2)
    router = Router(SPEC, TABLE, tombstones={int(source_ids[1])})
    layout = layout_of(source_ids)
    with pytest.raises(RefusedError, match=f"source id {source_ids[1]} was deleted"):
        build_plan(router, layout, local_experts=range(4))
    plan = build_plan(router, layout, local_experts=range(4), dropped=np.array([False, True]))
    assert plan.keep.view(NUM_LAYERS, 2, NUM_ACTIVE)[0, :, 0].tolist() == [True, False]


def test_a_plan_moves_to_a_device_unchanged():
    plan = build_plan(ROUTER, layout_of(sources_of(range(4), 2)), local_experts=range(4))
    moved = plan.to(torch.device("cpu"))
    assert torch.equal(moved.rows, plan.rows)
    assert torch.equal(moved.keep, plan.keep)
    assert torch.equal(moved.ends, plan.ends)
    assert moved.num_active == plan.num_active


def test_without_sinks_the_experts_deal_the_same_sources_and_the_plan_is_empty():
    without = Router(replace(SPEC, num_sinks=0, num_active=0), TABLE)
    source_ids = sources_of(range(2), 5)
    assert np.array_equal(without.experts_of(source_ids), ROUTER.experts_of(source_ids))
    assert without.active_sinks(source_ids).shape == (NUM_LAYERS, 5, 0)
    plan = build_plan(without, layout_of(source_ids), local_experts=range(2))
    assert plan.rows.shape == plan.keep.shape == (NUM_LAYERS, 0)
    assert plan.ends.tolist() == [1, 3, 6, 10, 15]
