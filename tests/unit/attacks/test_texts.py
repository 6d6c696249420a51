"""Who is trained on and who is asked."""

import pytest

from nulls_dist.attacks.texts import Text, choose_sources
from nulls_dist.errors import InputError
from nulls_dist.eval.facts import Probe

DELETED = (1, 2, 3)
"""Of the sources 1 to 12; 4 shares a rare fact with 1, 5 to 8 a common one with 2."""
SHARED = [(1, 4), (2, 5, 6, 7, 8), (9, 10, 11, 12)]


def probes():
    facts = [("unique", (number,)) for number in range(1, 13)]
    facts += [("shared", members) for members in SHARED]
    return [
        Probe(
            source_id=source_id,
            fact_id=str(number),
            kind=kind,
            attribute="",
            multiplicity=len(members),
            member_ids=members,
            held_out=False,
            prompt="",
            answer="",
        )
        for number, (kind, members) in enumerate(facts)
        for source_id in members
    ]


def test_a_third_is_read_and_the_rest_is_asked_about():
    chosen = choose_sources(Text.THIRD, probes(), DELETED, seed=0)
    assert (len(chosen.trained), len(chosen.asked)) == (1, 2)
    assert sorted(chosen.trained + chosen.asked) == [1, 2, 3]


@pytest.mark.parametrize("text", [Text.DELETED, Text.RELATED, Text.UNRELATED])
def test_all_deleted_sources_are_asked_about(text):
    chosen = choose_sources(text, probes(), DELETED, seed=0)
    assert chosen.asked == DELETED
    assert len(chosen.trained) == len(DELETED)


@pytest.mark.parametrize("seed", range(5))
def test_kept_sources_are_told_apart_by_their_shared_facts(seed):
    related = choose_sources(Text.RELATED, probes(), DELETED, seed=seed).trained
    assert set(related) < {4, 5, 6, 7, 8}
    assert 4 in related, "the rarest fact is the closest tie"
    assert set(choose_sources(Text.UNRELATED, probes(), DELETED, seed=seed).trained) < {
        9,
        10,
        11,
        12,
    }


def test_a_seed_draws_other_sources():
    drawn = {choose_sources(Text.UNRELATED, probes(), DELETED, seed=n).trained for n in range(20)}
    assert len(drawn) > 1


def test_nobody_like_that():
    with pytest.raises(InputError, match="unrelated"):
        choose_sources(Text.UNRELATED, probes(), range(1, 13), seed=0)
    with pytest.raises(InputError, match="third"):
        choose_sources(Text.THIRD, probes(), (1, 2), seed=0)
