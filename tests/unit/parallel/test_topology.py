"""Degrees of parallelism: what `auto` takes, where ranks stand, what is refused."""

import pytest

from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import load_preset
from nulls_dist.errors import ConfigError
from nulls_dist.parallel.topology import resolve_topology


def config_of(*assignments, experts=8, rows=48, micro=1):
    return apply_overrides(
        load_preset("nulls_tiny"),
        [
            f"model.num_experts={experts}",
            f"train.global_batch_rows={rows}",
            f"train.eval_rows={rows}",
            f"train.micro_batch_rows={micro}",
            *assignments,
        ],
    )


@pytest.mark.parametrize(
    ("world_size", "experts", "ep", "edp"),
    [
        (1, 8, 1, 1),
        (2, 8, 2, 1),
        (4, 8, 4, 1),
        (8, 8, 8, 1),
        (16, 8, 8, 2),
        (6, 8, 2, 3),
        (3, 8, 1, 3),
        (12, 8, 4, 3),
        (6, 6, 6, 1),
        (9, 6, 3, 3),
        (5, 1, 1, 5),
    ],
)
def test_auto_takes_the_largest_ep_that_divides_world_and_experts(world_size, experts, ep, edp):
    config = config_of(experts=experts, rows=experts * edp)
    topology = resolve_topology(config, world_size=world_size, rank=0)
    assert (topology.dp, topology.ep, topology.edp) == (world_size, ep, edp)
    assert topology.to_dict() == {"dp": world_size, "ep": ep, "edp": edp, "tp": 1}


@pytest.mark.parametrize(("world_size", "ep"), [(1, 1), (4, 2), (8, 4), (6, 2), (8, 8)])
def test_each_expert_has_one_owner_per_replica(world_size, ep):
    config = config_of(f"parallel.ep={ep}")
    owners = {}
    for rank in range(world_size):
        topology = resolve_topology(config, world_size=world_size, rank=rank)
        assert len(topology.local_experts) == 8 // ep
        for expert in topology.local_experts:
            owners.setdefault((topology.edp_rank, expert), []).append(rank)
    assert set(owners) == {(n, expert) for n in range(world_size // ep) for expert in range(8)}
    assert all(len(ranks) == 1 for ranks in owners.values())


@pytest.mark.parametrize(("world_size", "rows"), [(1, 3), (3, 9), (4, 12), (16, 32)])
def test_documents_that_are_not_placed_need_rows_for_the_ranks_only(world_size, rows):
    config = config_of("parallel.dispatcher=all_to_all", rows=rows)
    assert resolve_topology(config, world_size=world_size, rank=0).dp == world_size


def test_experts_lie_on_neighbouring_ranks():
    config = config_of("parallel.ep=2")
    places = [
        (topology.ep_rank, topology.edp_rank, topology.local_experts)
        for topology in (resolve_topology(config, world_size=4, rank=rank) for rank in range(4))
    ]
    assert places == [
        (0, 0, range(4)),
        (1, 0, range(4, 8)),
        (0, 1, range(4)),
        (1, 1, range(4, 8)),
    ]


def test_tensor_parallel_ranks_are_neighbours_and_hold_the_same_experts():
    config = config_of("parallel.tp=2", "parallel.ep=2")
    places = [
        (topology.tp_rank, topology.dp_rank, topology.ep_rank, topology.edp_rank)
        for topology in (resolve_topology(config, world_size=8, rank=rank) for rank in range(8))
    ]
    assert places == [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (0, 1, 1, 0),
        (1, 1, 1, 0),
        (0, 2, 0, 1),
        (1, 2, 0, 1),
        (0, 3, 1, 1),
        (1, 3, 1, 1),
    ]
    degrees = resolve_topology(config, world_size=8, rank=0).to_dict()
    assert degrees == {"dp": 4, "ep": 2, "edp": 2, "tp": 2}


@pytest.mark.parametrize(
    ("config", "world_size", "message"),
    [
        (
            config_of("parallel.ep=3"),
            4,
            "parallel.ep (3) must divide the data-parallel size (world size 4 / parallel.tp 1) (4)",
        ),
        (config_of("parallel.ep=8"), 4, "parallel.ep (8) must divide the data-parallel size"),
        (config_of("parallel.tp=2"), 3, "parallel.tp (2) must divide the world size (3)"),
        (
            config_of("parallel.tp=2", "parallel.ep=4"),
            4,
            "parallel.ep (4) must divide the data-parallel size (world size 4 / parallel.tp 2) (2)",
        ),
        (config_of("parallel.ep=3"), 3, "parallel.ep (3) must divide model.num_experts (8)"),
        (config_of("parallel.ep=16"), 16, "parallel.ep (16) must divide model.num_experts (8)"),
        (
            config_of(rows=24),
            16,
            "train.global_batch_rows (24) must be a multiple of 16: 8 experts times 2 replicas",
        ),
        (
            config_of("train.global_batch_rows=48", "train.eval_rows=8"),
            16,
            "train.eval_rows (8) must be a multiple of 16",
        ),
        (
            config_of(rows=16, micro=3),
            2,
            "train.micro_batch_rows (3) must divide the rows per rank and step (8 =",
        ),
        (
            config_of("parallel.dispatcher=all_to_all", rows=6),
            4,
            "train.global_batch_rows (6) must be a multiple of 4: 4 data-parallel ranks take",
        ),
        (
            config_of("parallel.dispatcher=all_to_all", "train.global_batch_rows=12", rows=6),
            4,
            "train.eval_rows (6) must be a multiple of 4: 4 data-parallel ranks take",
        ),
        (config_of(rows=8, micro=2), 8, "train.micro_batch_rows (2) must divide the rows per rank"),
    ],
)
def test_degrees_that_do_not_divide_are_refused_with_both_numbers(config, world_size, message):
    with pytest.raises(ConfigError) as caught:
        resolve_topology(config, world_size=world_size, rank=0)
    assert message in str(caught.value)
