"""Tokens that travel to their sinks, on one process: what moves, and that nothing else changes."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from nulls_dist.config.environment import ALONE
from nulls_dist.errors import RefusedError
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.groups import Groups, model_parallel, process_group
from nulls_dist.routing.plan import build_plan
from nulls_dist.routing.router import Router
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE
from tests.small_models import (
    CPU,
    layout_of,
    random_router,
    relative_error,
    small_config,
    whole_model,
)

CONFIG = small_config()
ROUTER = random_router(CONFIG)
LAYOUT = layout_of([3, 2, 4, 1, 2], [7, NO_SOURCE, 5, 9, 7])
DROPPED = np.array([False, False, False, True, False])
PARTS = ("gate", "up", "down")


@pytest.fixture
def groups() -> Iterator[Groups]:
    """One process with all experts."""
    accelerator = select_accelerator(ALONE.local_rank)
    with process_group(ALONE, accelerator), model_parallel(whole_model(CONFIG)) as opened:
        yield opened


def plan_on(groups: Groups, name: str, dropped: np.ndarray, router: Router = ROUTER):
    from nulls_dist.model.dispatch import LOCAL, plan_dispatch

    if name == "local":
        experts = groups.topology.local_experts
        return build_plan(router, LAYOUT, local_experts=experts, dropped=dropped), LOCAL
    return plan_dispatch(router, LAYOUT, groups=groups, device=CPU, dropped=dropped)


def test_only_tokens_that_have_sinks_to_run_leave(groups: Groups) -> None:
    plan, dispatcher = plan_on(groups, "all_to_all", DROPPED)
    assert dispatcher.leaving.tolist() == [0, 1, 2, 5, 6, 7, 8, 10, 11]
    assert dispatcher.sent == dispatcher.received == (9,)
    expected = build_plan(ROUTER, layout_of([3, 4, 2], [7, 5, 7]), local_experts=range(2))
    assert plan.ends.tolist() == [3, 7, 9]
    assert torch.equal(plan.rows, expected.rows)
    assert plan.keep.all()
    tokens = torch.arange(12.0)[:, None].repeat(1, 8)
    arrived = dispatcher.dispatch(tokens)
    assert arrived[:, 0].tolist() == [0, 1, 2, 5, 6, 7, 8, 10, 11]
    home = dispatcher.combine(arrived + 100)
    assert home[:, 0].tolist() == [100, 101, 102, 0, 0, 105, 106, 107, 108, 0, 110, 111]


def test_where_nothing_arrives_a_padding_token_runs_with_every_sink_off(groups: Groups) -> None:
    plan, dispatcher = plan_on(groups, "all_to_all", np.ones(5, dtype=bool))
    assert dispatcher.sent == dispatcher.received == (0,)
    assert plan.ends.tolist() == [1]
    assert not plan.keep.any()
    tokens = torch.ones(12, 8, requires_grad=True)
    arrived = dispatcher.dispatch(tokens)
    assert arrived.shape == (1, 8)
    home = dispatcher.combine(arrived + 100)
    assert home.shape == (12, 8)
    assert not home.any()
    home.sum().backward()
    assert tokens.grad is not None
    assert not tokens.grad.any()


def run_pool(groups: Groups, name: str) -> tuple[Tensor, dict[str, Tensor]]:
    from nulls_dist.model.sink_pool import SinkPool

    draws = torch.Generator().manual_seed(1)
    pool = SinkPool(CONFIG, groups.topology)
    with torch.no_grad():
        for part in PARTS:
            getattr(pool, part).normal_(generator=draws)
    x = torch.randn(LAYOUT.num_tokens, CONFIG.hidden_size, generator=draws, requires_grad=True)
    plan, dispatcher = plan_on(groups, name, DROPPED)
    output = dispatcher.combine(pool(dispatcher.dispatch(x), plan, 1))
    output.backward(torch.randn(output.shape, generator=draws))
    return output.detach(), {"x": x.grad} | {part: getattr(pool, part).grad for part in PARTS}


def test_a_group_of_one_computes_what_stays_local(groups: Groups) -> None:
    output, gradients = run_pool(groups, "all_to_all")
    expected, expected_gradients = run_pool(groups, "local")
    assert torch.equal(output, expected)
    for name, gradient in gradients.items():
        assert relative_error(gradient, expected_gradients[name]) <= 1e-6, name
        assert gradient.any()


def test_a_deleted_source_is_not_sent_unless_it_is_off(groups: Groups) -> None:
    router = Router(ROUTER.spec, ROUTER.bucket_table, tombstones={9})
    plan_on(groups, "all_to_all", DROPPED, router)
    with pytest.raises(RefusedError, match="source id 9 was deleted"):
        plan_on(groups, "all_to_all", np.zeros(5, dtype=bool), router)


def test_segments_keep_their_identity_on_the_way(groups: Groups) -> None:
    """Ids above 2^63 travel as signed integers and come back unchanged."""
    from nulls_dist.model.dispatch import _exchange_segments

    layout = SegmentLayout(
        lengths=(4, 1),
        source_ids=np.array([(1 << 64) - 5, 3], dtype=np.uint64),
        doc_indices=np.array([(1 << 32) - 1, 0], dtype=np.uint32),
    )
    both = np.arange(2)
    arrived, received = _exchange_segments(layout, both, np.zeros(2, dtype=np.int64), groups, CPU)
    assert received == (5,)
    assert arrived.lengths == layout.lengths
    assert np.array_equal(arrived.source_ids, layout.source_ids)
    assert np.array_equal(arrived.doc_indices, layout.doc_indices)
