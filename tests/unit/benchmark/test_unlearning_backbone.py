"""What the backbone alone knows, and what a changed setting does to it, on hand-made answers."""

import pytest

from nulls_dist.benchmark.unlearning import figures
from nulls_dist.benchmark.unlearning.backbone import compare_backbones, measure_backbone
from tests.unit.benchmark.test_unlearning_figures import answer
from tests.unlearning_rows import evidence_of


def test_the_backbone_is_asked_of_deleted_and_kept_sources_each_shared_fact_once(tmp_path):
    of_two = {"kind": "shared", "multiplicity": 3, "fact_id": "seat", "taught": 2}
    of_one = {**of_two, "fact_id": "mayor", "taught": 1}
    answers = [
        answer(figures.OFF, 1, 0, correct=False, **of_two),
        answer(figures.OFF, 11, 0, correct=False, **of_two, group="kept"),
        answer(figures.OFF, 12, 0, correct=True, **of_two, group="kept", phrasing=1),
        answer(figures.OFF, 2, 0, correct=True, **of_one),
        answer(figures.OFF, 21, 0, correct=True, **{**of_two, "fact_id": "x"}, group="unseen"),
        answer(figures.OFF, 1, 1, correct=False),
        answer(figures.OFF, 11, 1, correct=True, group="kept", wrong_nll=[2.0, 2.0]),
    ]
    found = measure_backbone(evidence_of(tmp_path, answers))
    shared = found["answer accuracy: deleted and kept sources, shared by 3, off"]
    assert (shared.value, shared.n) == (0.5, 2)
    preferred = found["preference: deleted and kept sources, unique facts, off"]
    assert (preferred.value, preferred.n) == ((2.5 / 4 + 1) / 2, 2)


def test_a_changed_model_is_compared_question_by_question(tmp_path):
    found = {}
    for name, leaks, shares in (("own", (False, True), False), ("changed", (True, True), True)):
        answers = [
            answer(figures.OFF, 1, 0, correct=shares, kind="shared", multiplicity=3, taught=3),
            answer(figures.OFF, 1, 1, correct=leaks[0], wrong_nll=[2.0 if leaks[0] else 0.5]),
            answer(figures.OFF, 11, 1, correct=True, group="kept", wrong_nll=[2.0]),
        ]
        (tmp_path / name).mkdir()
        found[name] = evidence_of(tmp_path / name, answers)
    changes = compare_backbones(found["changed"], found["own"])
    unique = changes["change: deleted and kept sources, unique facts, off, preference"]
    assert (unique.value, unique.n) == (0.5, 2)
    assert (unique.interval.low, unique.interval.high) == (0.0, 1.0)
    assert changes["change: deleted and kept sources, shared by 3, off, correct"].value == 1.0


def test_answers_to_other_questions_are_not_compared(tmp_path):
    found = []
    for name, number in (("own", 1), ("changed", 2)):
        (tmp_path / name).mkdir()
        answers = [answer(figures.OFF, 1, number, correct=True)]
        found.append(evidence_of(tmp_path / name, answers))
    with pytest.raises(AssertionError, match="same questions"):
        compare_backbones(*found)
