"""Every attack runs on every kind of model that has what it needs."""

import json
from dataclasses import replace

import pytest

from nulls_dist.attacks.catalogue import ATTACKS, AttackBudget, AttackInputs, Need
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.eval.metrics.compression import SearchPlan
from nulls_dist.eval.prompt_search import SwapSettings
from nulls_dist.eval.recitation import Document
from nulls_dist.retrieval.checkpoint_index import open_index
from nulls_dist.retrieval.encoder import NgramEncoder
from nulls_dist.sources import NO_SOURCE
from tests.unit.attacks.conftest import probe

BUDGET = AttackBudget(
    prefix_tokens=3,
    plan=SearchPlan(first_length=2, longest_per_token=1, num_steps=1),
    swaps=SwapSettings(num_candidates=4, best_tokens=3),
    searched_probes=1,
    tries=2,
    num_sources=2,
    max_members=4,
)


def inputs_of(model, tokenizer, probes, deleted, survivors, **known):
    kept = [probe(int(source), "sue has a", "cat") for source in survivors[:2]]
    return AttackInputs(
        model=model,
        tokenizer=tokenizer,
        eos_id=0,
        donor_of=dict.fromkeys([*deleted, *survivors[:2].tolist()], NO_SOURCE),
        probes=probes,
        documents=[
            Document(
                source_id=each.source_id,
                tokens=(5, 6, *tokenizer.encode(f" {each.prompt} {each.answer}.")),
            )
            for each in probes
        ],
        kept_probes=kept,
        survivors=survivors,
        titles=dict.fromkeys(deleted, "Title 13"),
        **known,
    )


@pytest.mark.parametrize("name", ["before", "suppressed", "excised", "dense"])
def test_attacks_run_where_their_needs_are_met_and_say_what_they_are(
    roots, opened, tokenizer, probes, deleted, survivors, name
):
    known = (tokenizer, probes, deleted, survivors)
    with (
        opened(name) as model,
        open_index(Checkpoint(roots[name]), None, NgramEncoder()) as index,
    ):
        inputs = inputs_of(model, *known, index=index)
        found = {
            attack.name: attack.run(inputs, BUDGET) for attack in ATTACKS if attack.fits(inputs)
        }
        again = ATTACKS[3].run(inputs, BUDGET)
    without = {attack.name for attack in ATTACKS if Need.SINKS in attack.needs}
    missing = without if name == "dense" else set()
    assert found.keys() == {attack.name for attack in ATTACKS} - missing
    assert found[ATTACKS[3].name] == again
    for attack, results in found.items():
        content = json.loads(json.dumps([each.to_dict() for each in results], allow_nan=False))
        assert {each["attack"] for each in content} == {attack}
        assert len({each["setting"] for each in content}) == len(content)
        assert all(each["results"] for each in content)
        assert all(result["formula"] for each in content for result in each["results"])


def test_what_is_left_out_is_not_offered(model, tokenizer, probes, deleted, survivors):
    whole = inputs_of(model, tokenizer, probes, deleted, survivors)
    assert whole.offers == frozenset(Need) - {Need.TITLES}  # there is no index
    bare = replace(whole, probes=(), documents=(), survivors=survivors[:0])
    assert bare.offers == {Need.SINKS}
    assert not any(attack.fits(bare) for attack in ATTACKS)


def test_every_attack_has_a_name_of_its_own():
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
