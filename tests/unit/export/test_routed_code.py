"""The shipped router is the frozen one; the shipped index finds what it was built from."""

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.export.routed_code.router_nulls import HashRouter
from nulls_dist.export.routed_code.sources_nulls import SourceIndex, fold_name
from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec
from nulls_dist.unlearn.names import fold_titles

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "router_golden.json").read_text())
NUM_LAYERS = 32  # the golden file asks for layers up to 31


def router_of(table, **changes):
    fields = {"version": 1, "seed": 0, "num_layers": NUM_LAYERS, "num_experts": 1}
    fields |= {"num_sinks": 256, "num_active": 8, "per_layer": True} | changes
    encoded = base64.b64encode(np.asarray(table, "<u2").tobytes()).decode()
    shared = {"num_shared": fields["num_sinks"], "private_blocks": {}}
    return HashRouter(**shared | fields, bucket_table=encoded)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['source_id']}-{c['seed']}")
def test_router_equals_the_golden_file(case):
    ids = np.array([case["source_id"]], np.uint64)
    for wanted in case["sinks"]:
        sizes = {"num_sinks": wanted["num_sinks"], "num_active": wanted["k"]}
        table = np.zeros(NUM_BUCKETS)
        rows = router_of(table, seed=case["seed"], **sizes).rows_of(ids)
        assert rows[wanted["layer"], 0].tolist() == wanted["active"]
        table[case["bucket"]] = 1
        moved = router_of(table, seed=case["seed"], num_experts=2, **sizes).rows_of(ids)
        assert (moved - rows).tolist() == np.full_like(rows, wanted["num_sinks"]).tolist()


@pytest.mark.parametrize("per_layer", [True, False])
@given(
    ids=st.lists(st.integers(0, 2**64 - 2), min_size=1, max_size=9),
    seed=st.integers(-(2**70), 2**70),
)
def test_router_is_the_projects(per_layer, ids, seed):
    spec = RouterSpec(
        seed=seed, num_layers=3, num_experts=5, num_sinks=48, num_active=8, per_layer=per_layer
    )
    table = (np.arange(NUM_BUCKETS) % 5).astype(np.uint16)
    ours, source_ids = Router(spec, table), np.array(ids, np.uint64)
    expected = ours.active_sinks(source_ids) + 48 * ours.experts_of(source_ids)[:, None]
    assert np.array_equal(router_of(table, **spec.to_dict()).rows_of(source_ids), expected)


@given(ids=st.lists(st.integers(0, 2**64 - 2), min_size=3, max_size=20, unique=True))
def test_private_blocks_are_the_projects(ids):
    spec = RouterSpec(seed=1, num_layers=3, num_experts=2, num_sinks=96, num_active=8)
    table = (np.arange(NUM_BUCKETS) % 2).astype(np.uint16)
    source_ids = np.array(ids, np.uint64)
    ours = Router(spec, table, private_sources=ids[:3])
    owners, first_sinks = ours.private.find(source_ids)
    blocks = {str(ids[owner]): int(first) for owner, first in zip(owners, first_sinks, strict=True)}
    theirs = router_of(
        table, **spec.to_dict(), num_shared=ours.private.num_shared, private_blocks=blocks
    )
    expected = ours.active_sinks(source_ids) + 96 * ours.experts_of(source_ids)[:, None]
    assert np.array_equal(theirs.rows_of(source_ids), expected)


def test_router_refuses_another_version():
    with pytest.raises(ValueError, match="router version 2 is not 1"):
        router_of(np.zeros(NUM_BUCKETS), version=2)


NAMES = st.text(st.sampled_from("aB_ \t\u00a0\u200b\u200e\ufeff\u00e9e\u0301\u0416\u0436\u4e2d1."))


@given(NAMES)
def test_names_are_folded_as_sources_txt_folds_them(name):
    assert fold_name(name) == fold_titles(pa.array([name], pa.string()))[0].as_py()


def index_of(*titles, aliases=None):
    ids = np.arange(10, 10 + len(titles), dtype=np.uint64)
    return SourceIndex.build(ids, titles, aliases or [[]] * len(titles))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique_by=fold_name))
def test_every_title_finds_its_source_after_saving_and_loading(tmp_path_factory, titles):
    path = tmp_path_factory.mktemp("index") / "sources" / "index.safetensors"
    index_of(*titles).save(path)
    index = SourceIndex.load(path)
    assert len(index) == len(titles)
    for number, title in enumerate(titles, start=10):
        assert index.title_of(number) == title.replace("\n", " ")
        if fold_name(title):
            assert index.find(title) == number


def test_names_of_several_sources_need_a_choice():
    aliases = [["Mercury", "Hg"], ["Mercury", "First planet"], []]
    index = index_of("Mercury (element)", "Mercury (planet)", "Hg", aliases=aliases)
    assert index.find("first_planet") == 11
    assert index.find("Hg") == 12, "a title goes before other names"
    with pytest.raises(ValueError, match=r"2 sources: 'Mercury \(element\)' \(10\), .*source_ids"):
        index.find("mercury")
    for number in (0, 9, 13, 2**64 - 1):
        with pytest.raises(ValueError, match=f"source id {number} is not in this model"):
            index.title_of(number)


def test_nearest_prefers_rare_words_and_whole_titles():
    titles = ["History of Spain", "History of the Ems", "Ems", "Cobalt", "Alabama", ""]
    index = index_of(*titles * 3, *(f"History of city {number}" for number in range(70_000)))

    def nearest(text):
        return index.title_of(index.nearest(text)[0])

    assert nearest("What is the history of the Ems?") == "History of the Ems"
    assert nearest("Ems, a river") == "Ems"
    assert nearest("Where is ALABAMA and why") == "Alabama"
    assert nearest("cobalts") == "Cobalt"
    assert nearest("what of city 69999?") == "History of city 69999", "beyond the first block"
    assert len(index.nearest("History of Spain", 3)) == 3
    assert index.nearest("\u4e2d") == []
    assert index_of().nearest("anything") == []
