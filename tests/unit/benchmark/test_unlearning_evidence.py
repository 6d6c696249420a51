"""Attacks and curves of the source-unlearning benchmark on hand-made inputs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.attacks.relearning import Access, RelearningCurve, RelearningOptions
from nulls_dist.benchmark.unlearning import figures
from nulls_dist.benchmark.unlearning.attack import choose_attacks
from nulls_dist.benchmark.unlearning.attack_results import compute_attacks, format_attacks
from nulls_dist.benchmark.unlearning.curve_results import deletion_entry, shared_entries
from nulls_dist.benchmark.unlearning.deletion_curve import counts_of
from nulls_dist.benchmark.unlearning.pooling import pool
from nulls_dist.benchmark.unlearning.relearned import mean_curve
from nulls_dist.benchmark.unlearning.relearning_results import TARGETS, format_relearning, judge
from nulls_dist.benchmark.unlearning.shared_curve import choose_facts
from nulls_dist.benchmark.unlearning.sizes import SIZES
from nulls_dist.errors import ConfigError
from nulls_dist.eval.facts import Probe
from tests.unit.benchmark.test_unlearning_figures import answer, evidence_of


def figure(value, low, high, *, n=10, name="answer accuracy", group="unique, seen phrasing"):
    interval = {"low": low, "high": high, "confidence": 0.95, "num_sources": 4, "method": "m"}
    return {
        "name": name,
        "variant": "greedy, full stop included, mean over facts and phrasings",
        "formula": "f",
        "direction": "d",
        "source": "s",
        "group": group,
        "value": value,
        "n": n,
        "interval": None if low is None else interval,
        "details": {},
    }


def test_seeds_are_pooled_with_the_root_of_their_squared_distances():
    found = pool({0: figure(0.5, 0.2, 0.6), 1: figure(0.7, 0.3, 0.7, n=30)})
    assert found["value"] == pytest.approx(0.6)
    assert found["interval"]["low"] == pytest.approx(0.6 - 0.5 / 2)  # 3-4-5
    assert found["interval"]["high"] == pytest.approx(0.6 + 0.1 / 2)
    assert (found["interval"]["num_sources"], found["n"]) == (8, 40)
    assert found["per_seed"]["1"]["value"] == 0.7


def test_one_seed_keeps_its_interval_and_what_is_undefined_stays_so():
    assert pool({0: figure(0.5, 0.2, 0.6)})["interval"]["method"] == "m"
    assert pool({0: figure(0.5, 0.2, 0.6), 1: figure(0.5, None, None)})["interval"] is None
    assert pool({0: figure(0.5, 0.2, 0.6), 1: figure(None, None, None)})["value"] is None


def made(*settings, reason=None):
    return {
        "num_sources": 4,
        "not_applicable": reason,
        "seconds": 1.0,
        "results": [
            {"attack": "formats", "setting": name, "options": {"k": 1}, "results": [result]}
            for name, result in settings
        ],
    }


def test_a_headline_is_the_strongest_setting_and_an_attack_that_does_not_apply_says_why():
    control = figure(1.0, 1.0, 1.0, group="kept sources: unique, seen phrasing")
    records = {
        ("formats", "excised"): {
            0: made(("list", figure(0.1, 0.0, 0.2)), ("question", figure(0.3, 0.2, 0.4))),
            1: made(("list", figure(0.1, 0.0, 0.2)), ("question", figure(0.1, 0.0, 0.2))),
        },
        ("changed weights", "excised"): {0: made(("nf4", figure(0.2, 0.1, 0.3)), ("no", control))},
        ("prefill", "excised"): {0: made(reason="answers of one token")},
    }
    found = compute_attacks(records)
    best, changed, absent = found["headlines"]
    assert (best["setting"], best["value"], best["n"]) == ("question", pytest.approx(0.2), 20)
    assert changed["value"] == 0.2  # not the control
    assert (absent["value"], absent["not_applicable"]) == (None, {"0": "answers of one token"})
    assert len(found["measures"]) == 4
    text = format_attacks({**found, "relearning": [], "targets": []})
    assert "does not apply: answers of one token" in text
    assert "question" in text.splitlines()[1]


def test_unknown_attacks_are_refused_with_those_there_are():
    assert choose_attacks("prefill, relearning") == ("prefill", "relearning")
    with pytest.raises(ConfigError, match=r"attack 'prefil' is unknown; did you mean prefill\?"):
        choose_attacks("prefil")


def curve(values, num_probes):
    return RelearningCurve(
        options=RelearningOptions(access=Access.BACKBONE, steps=2, ask_every=1),
        num_documents=3,
        num_probes={"unique": num_probes},
        steps=(0, 1, 2),
        accuracy={"unique": values},
        loss_nats=(1.0, 1.0),
    )


def test_curves_of_seeds_are_means_over_their_probes():
    found = mean_curve([curve((0.0, 0.2, 1.0), 10), curve((0.4, 0.6, 1.0), 30)])
    assert found.accuracy["unique"] == pytest.approx((0.3, 0.5, 1.0))
    assert (found.num_probes["unique"], found.num_documents) == (40, 6)
    with pytest.raises(AssertionError):
        mean_curve([curve((0.0, 0.2, 1.0), 1), replace(curve((0.0,), 1), steps=(0,))])


@pytest.mark.parametrize(
    ("value", "bound", "met"),
    [
        (0.85, "=", True),
        (0.84, "=", False),
        (0.9, ">", True),
        (0.5, ">", None),
        (0.5, "<", False),
        (0.9, "<", None),
    ],
)
def test_a_bound_decides_a_target_only_on_its_side(value, bound, met):
    assert TARGETS[0].is_met({"value": value, "bound": bound}) is met
    assert TARGETS[0].is_met(None) is None


def relearned(ratio, **more):
    level = {"share": 0.5, "budget": 60, "ratio": ratio}
    kind = {"before": 1.0, "start": 0.0, "area": 0.5, "retrained_area": None, "levels": [level]}
    entry = {
        "access": "own sinks",
        "text": "deleted",
        "model": "excised",
        "accuracy": {"unique": (0.0, 0.7)},
        "retrained_accuracy": {"unique": (0.0, 0.2)},
        "kinds": {"unique": kind},
        "per_seed": {"0": {"unique": kind}},
        "not_applicable": {},
    }
    return {**entry, **more}


def test_relearning_states_what_the_budget_cut_off():
    entries = [
        relearned({"value": 0.5, "bound": "<"}),
        relearned(None, text="third"),
        relearned(None, text="unrelated", kinds={}, not_applicable={"0": "no source is like that"}),
    ]
    (verdict,) = judge(entries)
    assert (verdict["value"], verdict["bound"], verdict["met"]) == (0.5, "<", False)
    assert verdict["per_seed"]["0"]["met"] is False
    lines = list(format_relearning({"relearning": entries, "targets": [verdict]}))
    assert "0.5: <0.50" in lines[1]
    assert "0.5: neither within 60" in lines[2]
    assert "does not apply: no source is like that" in lines[3]
    assert "<0.50  at least 0.85: MISSED" in lines[4]


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_deletions_grow_and_leave_the_kept_sources_that_are_asked(size):
    counts = counts_of(size)
    assert counts == sorted(set(counts))
    assert counts[0] == 1
    assert size.deleted in counts
    assert counts[-1] <= size.articles - size.kept_asked


def shared_probe(source_id, fact_id, members):
    return Probe(
        source_id=source_id,
        fact_id=fact_id,
        kind="shared",
        attribute="leader",
        multiplicity=len(members),
        member_ids=tuple(members),
        held_out=False,
        prompt="p",
        answer="a",
    )


@given(
    st.lists(st.sets(st.integers(1, 40), min_size=1, max_size=30), min_size=1, max_size=8),
    st.permutations(range(1, 31)),
)
def test_sources_of_a_shared_fact_go_one_after_another_until_none_is_left(groups, order):
    """Sources above 30 are in no corpus."""
    probes = [
        shared_probe(source_id, f"fact {number}", sorted(members))
        for number, members in enumerate(groups)
        for source_id in sorted(members)
        if source_id in order
    ]
    for fact in choose_facts(probes, order):
        members = set(fact.probes[0].member_ids) & set(order)
        assert set(fact.members) == members
        assert list(fact.members) == sorted(members, key=order.index)
        assert {probe.source_id for probe in fact.probes} == {fact.members[0]}
        for smaller, larger in zip(fact.deletions, fact.deletions[1:], strict=False):
            assert larger[: len(smaller)] == smaller
            assert len(larger) > len(smaller)
        assert fact.deletions[-1] == fact.members


def test_facts_are_as_many_as_wanted_of_every_multiplicity_and_of_different_sources():
    pairs = [(1, 2), (1, 2), (3, 4), (5, 6)]
    probes = [
        shared_probe(source, f"{number}", members)
        for number, members in enumerate([*pairs, (1, 3, 5)])
        for source in members
    ]
    found = choose_facts(probes, range(7), most=2)
    assert [fact.members for fact in found] == [(1, 2), (3, 4), (1, 3, 5)]


def test_a_deletion_is_compared_with_its_own_forecast_and_the_retrained_model(tmp_path):
    """Two kept sources, one of which loses one of two facts, and one deleted source."""

    def both(asked, source_id, correct, **more):
        return [
            answer(asked, source_id, number, correct=right, **more)
            for number, right in enumerate(correct)
        ]

    kept = {"group": "kept", "remaining": 1}
    before = [
        *both(figures.OWN, 1, (True, True)),
        *both(figures.RETRAINED_OFF, 1, (False, False)),
        *both(figures.RETRAINED_NEAREST, 1, (False, True)),
        *both(figures.OWN, 2, (True, True), **kept),
        *both(figures.OWN, 3, (True, True), **kept),
        *both(figures.OWN, 9, (True, True), **kept),  # not asked again
    ]
    excised_nearest = replace(figures.EXCISED_OWN, state="nearest")
    after = [
        *both(figures.EXCISED_OWN, 1, (False, True)),
        *both(excised_nearest, 1, (False, True)),
        *both(figures.EXCISED_OWN, 2, (False, True), **kept),
        *both(figures.EXCISED_OWN, 3, (True, True), **kept),
    ]
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    record = {
        "num_deleted": 1,
        "num_kept": 3,
        "pool_wiped": 0.1,
        "mean_lost_share": 0.2,
        "lost_share": {"2": 0.5, "3": 0.1, "9": 0.0},
    }
    answers = evidence_of(tmp_path / "after", after).answers
    entry = deletion_entry(evidence_of(tmp_path / "before", before), answers, {0: record})
    found = {name: each["value"] for name, each in entry["figures"].items()}
    assert found == {
        "collateral found": pytest.approx(0.25),
        "collateral forecast": pytest.approx(0.2),
        "collateral beyond the forecast": pytest.approx(0.25 - 0.3),
        "isolation: excised": pytest.approx(0.5),
        "isolation: nearest": pytest.approx(1.0),
    }
    assert entry["figures"]["isolation: excised"]["per_seed"]["0"]["value"] == 0.5


def test_shared_facts_are_listed_by_what_remains(tmp_path):
    shared = {"kind": "shared", "multiplicity": 3, "taught": 3}
    rows = [
        answer(figures.OFF, 1, number, correct=right, seed=seed, remaining=left, **shared)
        for seed in (0, 1)
        for left, rights in ((2, (True, True)), (0, (True, False)))
        for number, right in enumerate(rights)
    ]
    # The tables sort equal keys together: what remains tells the rows apart.
    found = list(shared_entries(evidence_of(tmp_path, rows).answers))
    assert [(each["remaining"], each["figure"]["value"]) for each in found] == [(0, 0.5), (2, 1.0)]
    assert [each["num_deleted"] for each in found] == [3.0, 1.0]
    assert {each["num_facts"] for each in found} == {4}
