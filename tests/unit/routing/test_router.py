"""The router equals its frozen specification, on the host and on tensors, and refuses deletions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist import hashing, hashing_torch
from nulls_dist.errors import ConfigError, IntegrityError, RefusedError
from nulls_dist.routing import router_torch
from nulls_dist.routing.router import (
    NUM_BUCKETS,
    ROUTER_VERSION,
    Router,
    RouterSpec,
    buckets_of,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "router_golden.json").read_text())
U64 = st.integers(0, 2**64 - 1)
NUM_LAYERS = 32  # the golden file asks for layers up to 31


def spec_of(*, num_sinks=256, num_active=8, seed=0, **changes) -> RouterSpec:
    fields = {"num_layers": NUM_LAYERS, "num_experts": 2} | changes
    return RouterSpec(seed=seed, num_sinks=num_sinks, num_active=num_active, **fields)


def router_of(spec: RouterSpec, tombstones=()) -> Router:
    table = (np.arange(NUM_BUCKETS) % spec.num_experts).astype(np.uint16)
    return Router(spec, table, tombstones)


def ids_of(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64)


def as_torch(source_ids: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(source_ids.view(np.int64).copy())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['source_id']}-{c['seed']}")
def test_both_routers_equal_the_golden_file(case):
    ids, seed = ids_of(case["source_id"]), case["seed"]
    assert buckets_of(ids, router_seed=seed).tolist() == [case["bucket"]]
    key = int(case["key_domain0_layer0"], 16)
    assert hashing.key(ids, seed=seed, domain=0).tolist() == [key]
    on_tensors = hashing_torch.key(as_torch(ids), seed=seed, domain=0)
    assert on_tensors.numpy().view(np.uint64).tolist() == [key]
    for wanted in case["sinks"]:
        spec = spec_of(num_sinks=wanted["num_sinks"], num_active=wanted["k"], seed=seed)
        layer = wanted["layer"]
        router = router_of(spec)
        assert router.active_sinks(ids)[layer, 0].tolist() == wanted["active"]
        on_tensors = router_torch.active_sinks(spec, router.private, as_torch(ids))
        assert on_tensors[layer, 0].tolist() == wanted["active"]


def test_the_golden_file_holds_what_it_should():
    assert GOLDEN["router_version"] == ROUTER_VERSION == 1
    assert len(GOLDEN["cases"]) == 20
    assert {len(case["sinks"]) for case in GOLDEN["cases"]} == {3}
    assert 2**64 - 1 in {case["source_id"] for case in GOLDEN["cases"]}


@given(
    st.lists(U64, max_size=6),
    st.integers(-(2**63), 2**64),
    st.sampled_from([(8, 8), (256, 8), (3840, 96), (7680, 240), (1 << 20, 16)]),
    st.booleans(),
)
def test_numpy_and_torch_choose_the_same_distinct_sorted_sinks_one_per_stratum(
    ids, seed, sizes, per_layer
):
    num_sinks, num_active = sizes
    spec = spec_of(
        num_sinks=num_sinks, num_active=num_active, seed=seed, num_layers=3, per_layer=per_layer
    )
    source_ids = ids_of(*ids, 2**64 - 1)
    router = router_of(spec)
    sinks = router.active_sinks(source_ids)
    assert sinks.shape == (3, len(source_ids), num_active)
    assert sinks.dtype == np.int64
    on_tensors = router_torch.active_sinks(spec, router.private, as_torch(source_ids))
    assert np.array_equal(on_tensors.numpy(), sinks)
    width = num_sinks // num_active
    strata = np.broadcast_to(np.arange(num_active), sinks.shape)
    assert np.array_equal(sinks // width, strata)  # hence distinct, sorted and in range


def test_a_source_has_the_same_sinks_whoever_is_asked_about_with_it():
    source_ids = np.random.default_rng(0).integers(0, 2**64 - 1, 50, dtype=np.uint64)
    router = router_of(spec_of())
    together = router.active_sinks(source_ids)
    for index in (0, 17, 49):
        alone = router.active_sinks(source_ids[index : index + 1])
        assert np.array_equal(alone[:, 0], together[:, index])


def test_layers_choose_apart_by_default_and_alike_with_per_layer_off():
    ids = ids_of(*range(20))
    apart = router_of(spec_of()).active_sinks(ids)
    alike = router_of(spec_of(per_layer=False)).active_sinks(ids)
    assert all(not np.array_equal(apart[0], apart[layer]) for layer in range(1, NUM_LAYERS))
    assert all(np.array_equal(alike[0], alike[layer]) for layer in range(NUM_LAYERS))
    assert np.array_equal(alike[0], apart[0])


def test_the_expert_is_the_table_entry_of_the_bucket():
    spec = spec_of(seed=42, num_experts=7)
    table = np.random.default_rng(1).integers(0, 7, NUM_BUCKETS).astype(np.uint16)
    cases = [case for case in GOLDEN["cases"] if case["seed"] == 42]
    experts = Router(spec, table).experts_of(ids_of(*(case["source_id"] for case in cases)))
    assert experts.tolist() == [int(table[case["bucket"]]) for case in cases]


@pytest.mark.parametrize("deleted", [0, 12345, 2**63, 2**64 - 2])
def test_a_deleted_source_is_refused_by_its_id(deleted):
    router = router_of(spec_of(), tombstones={deleted, 99})
    with pytest.raises(RefusedError, match=rf"source id {deleted} was deleted .*tombstone"):
        router.active_sinks(ids_of(5, deleted, 7))
    near = [number for number in (deleted - 1, deleted + 1) if number >= 0]
    assert router.active_sinks(ids_of(*near)).shape[1] == len(near)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_router_version_is_refused(version):
    with pytest.raises(IntegrityError, match=rf"router version {version} is not 1"):
        spec_of(version=version)


@pytest.mark.parametrize(
    ("num_sinks", "num_active"), [(250, 8), (7692, 96), (8, 16), (8, 0), (-8, -8)]
)
def test_sinks_that_cannot_be_cut_into_strata_are_refused(num_sinks, num_active):
    with pytest.raises(ConfigError, match=rf"active sinks \({num_active}\) must divide"):
        spec_of(num_sinks=num_sinks, num_active=num_active)


def test_a_specification_survives_its_dictionary():
    spec = spec_of(seed=-3, per_layer=False)
    assert RouterSpec(**json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("table", "reason"),
    [(np.zeros(16, dtype=np.uint16), "per bucket"), (np.full(NUM_BUCKETS, 2), "existing experts")],
)
def test_a_table_of_another_shape_or_with_unknown_experts_is_a_programming_error(table, reason):
    with pytest.raises(AssertionError, match=reason):
        Router(spec_of(), table.astype(np.uint16))
