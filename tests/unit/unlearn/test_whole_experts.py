"""An expert per source: with as many active sinks as there are, deletion drops a whole expert."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.torch import load_file

from nulls_dist.checkpoint.format import backbone_weights_file, sink_weights_file
from nulls_dist.cli import run_command
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec, buckets_of
from tests.checkpoint_factory import ROUTER_SEED, build_checkpoint, key_id, tiny_model
from tools import strip_sources

NUM_DOMAINS = 4
NUM_SINKS = 8


def router_of(tokens):
    """Router of a corpus: source id -> tokens."""
    per_bucket = np.zeros(NUM_BUCKETS, dtype=np.int64)
    buckets = buckets_of(np.array(list(tokens), dtype=np.uint64), router_seed=ROUTER_SEED)
    assume(len(set(buckets.tolist())) == len(tokens))  # two that share one share an expert
    np.add.at(per_bucket, buckets, list(tokens.values()))
    spec = RouterSpec(
        seed=ROUTER_SEED,
        num_layers=2,
        num_experts=len(tokens),
        num_sinks=NUM_SINKS,
        num_active=NUM_SINKS,
    )
    return Router(spec, balance_buckets(per_bucket, len(tokens)))


@given(
    st.dictionaries(
        st.integers(0, 2**64 - 2), st.integers(1, 10**9), min_size=1, max_size=NUM_DOMAINS * 3
    )
)
def test_as_many_experts_as_domains_give_each_one_of_its_own(tokens):
    router = router_of(tokens)
    domains = np.array(list(tokens), dtype=np.uint64)
    assert sorted(router.experts_of(domains)) == list(range(len(domains)))
    sinks = router.active_sinks(domains)
    assert (sinks == np.arange(NUM_SINKS)).all(), "all of it, in every layer"


@pytest.fixture(scope="module")
def deleted(tmp_path_factory):
    """A checkpoint, and the same without the domain of its third expert."""
    folder = tmp_path_factory.mktemp("experts")
    model = tiny_model(num_experts=NUM_DOMAINS, num_sinks=NUM_SINKS, num_active=NUM_SINKS)
    keys = {}
    for number in range(200):
        ids = np.array([key_id(f"domain-{number}")], dtype=np.uint64)
        bucket = int(buckets_of(ids, router_seed=ROUTER_SEED)[0])
        keys.setdefault(bucket % NUM_DOMAINS, f"domain-{number}")
    rows = [{"source_key": key, "title": key} for key in keys.values()]
    root = build_checkpoint(folder / "checkpoint", model=model, rows=rows)
    (folder / "sources.txt").write_text(keys[2] + "\n")
    words = [root, folder / "sources.txt", "--out", folder / "out", "--max-collateral", "0"]
    assert run_command(strip_sources.main, [*map(str, words), "--json"]) == 0
    return root, folder / "out"


def test_the_other_experts_and_the_backbone_keep_every_byte(deleted):
    root, out = deleted
    kept = [sink_weights_file(expert) for expert in range(NUM_DOMAINS) if expert != 2]
    for file in (backbone_weights_file(0), *kept):
        assert (out / file).read_bytes() == (root / file).read_bytes(), file


def test_no_sink_of_the_expert_says_anything(deleted):
    root, out = deleted
    before, after = (load_file(path / sink_weights_file(2)) for path in (root, out))
    outputs = [name for name in before if "down" in name]
    assert len(outputs) == 2, "one per layer"
    for name in outputs:
        assert before[name].any()
        assert torch.equal(after[name], torch.zeros_like(after[name]))
