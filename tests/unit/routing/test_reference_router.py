"""The router of released weights gives the golden masks, padded, and knows who shares them."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from nulls_dist.errors import ConfigError, RefusedError
from nulls_dist.routing.kinds import open_router, spec_type
from nulls_dist.routing.plan import build_plan, plan_whole_pool
from nulls_dist.routing.reference_router import ReferenceRouter, ReferenceSpec, usual_width
from nulls_dist.routing.router import NO_SINK, NUM_BUCKETS, Router, RouterSpec
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.segments import SegmentLayout
from nulls_dist.sources import NO_SOURCE

CASES = json.loads((Path(__file__).parents[2] / "golden" / "seqtd_golden.json").read_text())[
    "cases"
]
TABLE = np.zeros(NUM_BUCKETS, dtype=np.uint16)


def spec_of(id_dtype="int32", num_sinks=7692, p_active=0.013):
    return ReferenceSpec(
        seed=0,
        num_layers=3,
        num_experts=1,
        num_sinks=num_sinks,
        num_active=usual_width(num_sinks, p_active),
        per_layer=False,
        id_dtype=id_dtype,
        p_active=p_active,
        p_backbone=0.0625,
    )


def router_of(*arguments):
    return ReferenceRouter(spec_of(*arguments), TABLE)


def ids_of(*numbers):
    return np.array(numbers, dtype=np.uint64)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['seq_id']}-{c['id_dtype']}")
def test_the_router_s_sinks_equal_the_golden_file_in_every_layer(case):
    router = router_of(case["id_dtype"], case["pool_size"], case["p_active"])
    sinks = router.active_sinks(ids_of(case["seq_id"]))
    assert sinks.shape[:2] == (3, 1)
    assert sinks.shape[2] % 8 == 0
    for row in sinks[:, 0]:
        active = row[: case["count"]].tolist()
        assert hashlib.sha256(json.dumps(active).encode()).hexdigest() == case["sha256"]
        assert (row[case["count"] :] == NO_SINK).all()


def test_masks_of_many_sources_at_once_are_those_of_each_alone():
    for kind in ("int32", "int64"):
        router = router_of(kind)
        ids = np.arange(65_530, 65_545, dtype=np.uint64)
        together = router.active_sinks(ids)
        for place, number in enumerate(ids):
            alone = router.active_sinks(ids_of(number))[0, 0]
            row = together[0, place]
            assert row[row >= 0].tolist() == alone[alone >= 0].tolist()


def test_the_width_is_the_usual_one_unless_a_mask_is_wider():
    router = router_of()
    assert router.spec.num_active == 144
    assert router.active_sinks(ids_of(49_152, 49_153)).shape == (3, 2, 144)
    assert router.active_sinks(ids_of()).shape == (3, 0, 144)
    assert router.active_sinks(ids_of(49_152, 65_536)).shape == (3, 2, 7696)


def test_int32_masks_depend_on_16_bits_and_int64_masks_on_all():
    ids = ids_of(70, 70 + 65_536, 71)
    assert router_of("int32").mask_ids(ids).tolist() == [70, 70, 71]
    assert router_of("int64").mask_ids(ids).tolist() == ids.tolist()
    narrow, wide = (router_of(kind).active_sinks(ids)[0] for kind in ("int32", "int64"))
    assert np.array_equal(narrow[0], narrow[1])
    assert not np.array_equal(narrow[0], narrow[2])
    assert not np.array_equal(wide[0], wide[1])


def test_a_set_of_sinks_holds_no_padding():
    router = router_of("int32", 120, 0.1)
    for number in range(64, 96):
        sinks = router.active_sinks(ids_of(number))[0, 0]
        mask = sinks_of(router, ids_of(number))
        assert mask.shape == (3, 1, 120)
        assert [np.flatnonzero(layer[0]).tolist() for layer in mask] == [
            sinks[sinks >= 0].tolist()
        ] * 3


def test_deleted_sources_are_refused_their_twins_are_not():
    router = open_router(spec_of(), TABLE, {70})
    assert isinstance(router, ReferenceRouter)
    with pytest.raises(RefusedError, match="source id 70 was deleted"):
        router.active_sinks(ids_of(70))
    router.active_sinks(ids_of(70 + 65_536))


def layout_of(*source_ids):
    return SegmentLayout(
        lengths=(2,) * len(source_ids),
        source_ids=ids_of(*source_ids),
        doc_indices=np.zeros(len(source_ids), dtype=np.uint32),
    )


def test_a_plan_keeps_exactly_the_sinks_that_are_not_excluded():
    router = router_of("int32", 120, 0.1)
    excluded = sinks_of(router, ids_of(66, 67))
    plan = build_plan(
        router, layout_of(64, NO_SOURCE, 65), local_experts=range(1), excluded=excluded
    )
    rows, keep = (values.view(3, 3, -1).numpy() for values in (plan.rows, plan.keep))
    assert rows.min() >= 0
    assert rows.max() < 120
    for segment, source in ((0, 64), (2, 65)):
        own = sinks_of(router, ids_of(source)) & ~excluded
        for layer in range(3):
            kept = rows[layer, segment][keep[layer, segment]]
            assert kept.tolist() == np.flatnonzero(own[layer, 0]).tolist()
    assert not keep[:, 1].any()


def test_a_plan_of_the_whole_pool_has_every_sink_of_every_expert_once():
    spec = RouterSpec(seed=1, num_layers=2, num_experts=3, num_sinks=12, num_active=4)
    router = Router(spec, (np.arange(NUM_BUCKETS) % 3).astype(np.uint16))
    excluded = sinks_of(router, ids_of(5))
    plan = plan_whole_pool(spec, 7, excluded)
    assert plan.ends.tolist() == [7]
    assert plan.num_active == 40
    for layer in range(2):
        kept = plan.rows[layer][plan.keep[layer]].numpy()
        assert kept.tolist() == np.flatnonzero(~excluded[layer].ravel()).tolist()


def test_a_specification_is_told_apart_by_its_fields():
    assert spec_type(spec_of().to_dict()) is ReferenceSpec
    plain = RouterSpec(seed=1, num_layers=2, num_experts=3, num_sinks=12, num_active=4)
    assert spec_type(plain.to_dict()) is RouterSpec
    assert type(open_router(plain, TABLE)) is Router
    assert ReferenceSpec(**asdict(spec_of())) == spec_of()
    assert (spec_of().kind, plain.kind) == ("reference_int32", "stratified")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id_dtype": "int16"}, "id_dtype"),
        ({"p_active": 1.5}, "p_active"),
        ({"p_backbone": 0.0}, "p_backbone"),
        ({"num_experts": 2}, "one pool"),
        ({"per_layer": True}, "one mask"),
    ],
)
def test_what_no_released_model_has_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(spec_of(), **changes)
