"""An imported model answers as a plain forward pass of the release does, in each of its states."""

import pytest
import torch

from nulls_dist.eval.inference import load_for_inference
from nulls_dist.released.checkpoint import import_release
from nulls_dist.sources import NO_SOURCE
from tests.released_model import (
    ALL_ON,
    CONFIG,
    NUM_BACKBONE,
    NUM_SINKS,
    VOCAB,
    oracle_logits,
    published_mask,
    random_weights,
    write_release,
    write_titles,
)

TEXTS = [[3, 60, 7, 7, 1, 20, 33], [9], [50, 2, 2, 41, 5, 8, 63, 0, 11, 12, 13]]
SOURCES = [index + VOCAB for index in (5, 65_541, 12)]
EXCLUDED = [index + VOCAB for index in (7, 20, 21)]
P_GEN, P_MEM = CONFIG["p_gen"], CONFIG["p_mem"]


@pytest.fixture(scope="module", params=["int32", "int64"])
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    release = write_release(folder / "final")
    titles = write_titles(folder / "titles.json")
    import_release(release, titles, folder / "imported", id_dtype=request.param)
    return folder / "imported", getattr(torch, request.param)


@pytest.fixture
def imported(checkpoint):
    root, dtype = checkpoint
    with load_for_inference(root) as model:
        yield model, dtype


def expected(masks, weights=None):
    weights = weights or random_weights()
    return [oracle_logits(weights, text, mask) for text, mask in zip(TEXTS, masks, strict=True)]


def check(found, masks):
    for one, two in zip(found, expected(masks), strict=True):
        assert one.shape == two.shape
        assert two.std() > 1  # of logits that say something
        torch.testing.assert_close(one, two, rtol=2e-5, atol=2e-5)


def neurons(backbone, sinks):
    return torch.cat([torch.full((NUM_BACKBONE,), float(backbone)), sinks.float()])


def union(sources, dtype):
    return torch.stack([published_mask(source, dtype) for source in sources]).any(0)


def test_a_source_s_own_sinks(imported):
    model, dtype = imported
    masks = [neurons(1, published_mask(source, dtype)) for source in SOURCES]
    assert not torch.equal(masks[0], masks[2])
    assert torch.equal(masks[0], masks[1]) == (dtype is torch.int32)
    check(model.logits(TEXTS, SOURCES), masks)


def test_a_source_s_own_sinks_without_those_of_others(imported):
    model, dtype = imported
    off = union(EXCLUDED, dtype)
    own = [published_mask(source, dtype) for source in SOURCES]
    assert any((mask & off).any() for mask in own)
    masks = [neurons(1, mask & ~off) for mask in own]
    check(model.logits(TEXTS, SOURCES, excluded=EXCLUDED), masks)


def test_the_backbone_alone_rescaled_and_not(imported):
    model, _ = imported
    nobody, none = [NO_SOURCE] * len(TEXTS), torch.zeros(NUM_SINKS)
    gain = model.router.spec.off_gain
    assert gain == pytest.approx((P_GEN + P_MEM) / P_GEN)
    check(model.logits(TEXTS, nobody, backbone_gain=gain), [neurons(gain, none)] * len(TEXTS))
    check(model.logits(TEXTS, nobody), [neurons(1, none)] * len(TEXTS))


@pytest.mark.parametrize("excluded", [(), EXCLUDED])
def test_all_sinks_each_a_little(imported, excluded):
    model, dtype = imported
    kept = ~union(excluded, dtype) if excluded else torch.ones(NUM_SINKS, dtype=torch.bool)
    found = model.logits_of_all_sinks(TEXTS, sink_gain=P_MEM, excluded=excluded)
    check(found, [neurons(1, P_MEM * kept)] * len(TEXTS))


def test_an_article_with_every_sink_widens_only_the_batch_it_is_in(imported):
    model, dtype = imported
    sources = [ALL_ON + VOCAB, *SOURCES[1:]]
    masks = [neurons(1, published_mask(source, dtype)) for source in sources]
    assert bool(masks[0].all()) == (dtype is torch.int32)
    check(model.logits(TEXTS, sources), masks)
