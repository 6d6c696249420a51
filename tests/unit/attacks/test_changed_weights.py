"""Only the layers' matrices change, for the duration of the question, and zeros say nothing."""

import pytest
import torch

from nulls_dist.attacks.changed_weights import CHANGES, ask_changed_models, prune_smallest
from nulls_dist.eval.fact_likelihood import fact_results, weigh_answers
from nulls_dist.sources import NO_SOURCE

TEXTS = [[3, 4, 5, 6], [7, 8, 9]]


def test_the_smallest_of_a_matrix_are_pruned():
    weights = torch.tensor([[0.1, -5.0], [-0.2, 3.0]])
    assert prune_smallest(0.5)(weights).tolist() == [[0.0, -5.0], [0.0, 3.0]]
    assert prune_smallest(0.25)(weights).tolist() == [[0.0, -5.0], [weights[1, 0], 3.0]]


def test_weights_are_back_after_the_block_and_after_an_error(model, deleted):
    before = {name: value.detach().clone() for name, value in model._model.named_parameters()}
    seen = []

    def halve(name, values):
        seen.append(name)
        return values / 2 if values.dim() == 2 else None

    def fail_inside():
        with model.changed_weights(halve):
            changed = dict(model._model.named_parameters())
            assert all(
                torch.equal(changed[name], value / 2 if value.dim() == 2 else value)
                for name, value in before.items()
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert seen == list(before)
    after = dict(model._model.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_every_change_is_asked_about_and_the_first_one_changes_nothing(
    model, tokenizer, probes, deleted
):
    own = {source_id: source_id for source_id in deleted}
    answers = fact_results(weigh_answers(model, tokenizer, probes, own))
    found = ask_changed_models(model, tokenizer, probes, own, kept=probes)
    assert [result.setting for result in found] == list(CHANGES)
    values = [[result.value for result in each.results] for each in found]
    expected = [result.value for result in answers]
    assert values[0] == [*expected, *expected]
    assert all(other != values[0] for other in values[1:])
    groups = {result.group for result in found[0].results}
    assert groups == {"unique, seen phrasing", "kept sources: unique, seen phrasing"}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_change_of_excised_weights_makes_a_deleted_mask_say_anything(opened, deleted, change):
    with (
        opened("excised") as model,
        model.changed_weights(
            lambda name, values: (
                change(values.detach())
                if name.startswith("decoder.") and values.dim() == 2
                else None
            )
        ),
    ):
        own, off = (model.logits(TEXTS, served) for served in (deleted, [NO_SOURCE] * 2))
    assert all(torch.equal(one, other) for one, other in zip(own, off, strict=True))
