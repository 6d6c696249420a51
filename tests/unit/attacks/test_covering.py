"""A union of masks is what the slow reference says, and gives back exactly what was left."""

import numpy as np
import pytest
import torch

from nulls_dist.attacks.covering import UnionModel, ask_covers, cover_results
from nulls_dist.attacks.set_cover import Cover, cover_sources
from nulls_dist.errors import RefusedError
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.sources import NO_SOURCE
from tests.oracles import reference_losses
from tests.small_models import layout_of, targets_of

TEXTS = [[3, 4, 5, 6, 7], [8, 9, 10], [11, 12, 13, 14]]


def same(one, other):
    return [torch.equal(*pair) for pair in zip(one, other, strict=True)]


def losses_of(logits, text):
    return torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(text[1:]), reduction="none")


@pytest.mark.parametrize("excluded", [False, True])
def test_the_union_of_masks_is_that_of_the_dense_and_mask_reference(
    model, survivors, deleted, excluded
):
    members = [int(source) for source in survivors[:3]]
    barred = {1: deleted} if excluded else {}
    text = TEXTS[0]
    (found,) = UnionModel(model, {1: members}, barred).logits([text], [1])
    chosen = sinks_of(model.router, np.array(sorted(members), dtype=np.uint64))
    if excluded:
        chosen &= ~sinks_of(model.router, np.array(deleted, dtype=np.uint64))
    masks = torch.from_numpy(chosen).flatten(1)[:, None].expand(-1, len(text), -1).float()
    layout = layout_of([len(text)], [NO_SOURCE])
    tokens = torch.tensor(text)
    expected = reference_losses(
        dict(model._model.named_parameters()),
        model.config,
        masks,
        layout,
        tokens,
        targets_of(tokens, layout),
    )
    torch.testing.assert_close(losses_of(found, text), expected.detach()[:-1], atol=1e-4, rtol=1e-4)


def test_every_text_is_served_by_the_members_of_its_source(model, survivors):
    first, second = (int(source) for source in survivors[:2])
    members_of = {1: [first], 2: [first, second], 3: []}
    found = UnionModel(model, members_of).logits(TEXTS, [2, 3, 1])
    expected = [
        *model.union_logits(TEXTS[:1], [second, first]),
        *model.logits(TEXTS[1:2], [NO_SOURCE]),
        *model.logits(TEXTS[2:], [first]),
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_after_excision_a_deleted_mask_and_a_cover_say_nothing_of_their_own(
    opened, deleted, survivors
):
    asked = [deleted[0]] * len(TEXTS)
    answers = {}
    for name in ("before", "suppressed", "excised"):
        with opened(name) as model:
            covers = cover_sources(model.router, survivors, deleted, max_members=64)
            members_of = {cover.source_id: cover.members for cover in covers}
            excluded_of = dict.fromkeys(deleted, deleted)
            answers[name] = {
                "own": model.logits(TEXTS, asked),
                "off": model.logits(TEXTS, [NO_SOURCE] * len(TEXTS)),
                "union": UnionModel(model, members_of).logits(TEXTS, asked),
                "rest": UnionModel(model, members_of, excluded_of).logits(TEXTS, asked),
            }
    assert all(
        all(same(answers["suppressed"][way], answers["before"][way])) for way in answers["before"]
    )
    assert not any(same(answers["before"]["own"], answers["before"]["off"]))
    assert not any(same(answers["before"]["union"], answers["before"]["rest"]))
    excised = answers["excised"]
    assert all(same(excised["own"], excised["off"]))
    assert all(same(excised["union"], excised["rest"]))
    assert all(same(excised["rest"], answers["before"]["rest"]))


def test_every_way_is_asked(opened, tokenizer, probes, survivors):
    found = {}
    for name in ("suppressed", "excised"):
        with opened(name) as model:
            results = ask_covers(model, tokenizer, probes, survivors, max_members=6, num_single=2)
        found[name] = {
            each.setting: [(r.metric.label, r.value) for r in each.results] for each in results
        }
        assert list(found[name]) == [
            "union",
            "union without the own sinks",
            "best of single members",
            "own mask",
        ]
    one, other = "union", "union without the own sinks"
    assert found["excised"][one] == found["excised"][other]
    assert found["suppressed"][one] != found["suppressed"][other]


def test_a_model_that_obeys_tombstones_is_not_attacked(roots, tokenizer, probes, survivors):
    with (
        load_for_inference(roots["excised"]) as model,
        pytest.raises(RefusedError, match="was deleted"),
    ):
        ask_covers(model, tokenizer, probes, survivors)


def test_covers_are_counted_by_hand():
    covers = [
        Cover(source_id=1, num_slots=4, members=(7, 8, 9), covered=(2, 3, 4)),
        Cover(source_id=2, num_slots=4, members=(7,), covered=(1,)),
        Cover(source_id=3, num_slots=4, members=(), covered=()),
    ]
    size, share = cover_results(covers)
    assert (size.value, size.details) == (4 / 3, {"min": 0, "max": 3})
    assert (share.value, share.details) == (1.25 / 3, {"num_complete": 1, "min": 0})
