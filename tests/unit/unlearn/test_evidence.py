"""The verdict of a report on what a model knew and knows."""

from datetime import date

import pytest

from nulls_dist.errors import ConfigError
from nulls_dist.unlearn.evidence import Evidence, SourceEvidence, Verdict
from nulls_dist.unlearn.request import RequestRecord


def entry(before, guess, after, backbone, source_id=1):
    return SourceEvidence(
        source_id=source_id,
        title="T",
        num_questions=10,
        before=before,
        guess=guess,
        after=after,
        backbone=backbone,
    )


@pytest.mark.parametrize(
    ("shares", "verdict", "left"),
    [
        ((1.0, 0.0, 0.05, 0.0), Verdict.NOT_RECALLED, 0.05),
        ((1.0, 0.0, 0.0, 0.3), Verdict.RESIDUAL, 0.3),
        ((0.7, 0.2, 0.45, 0.1), Verdict.RESIDUAL, 0.5),
        ((0.9, 0.5, 0.1, 0.2), Verdict.NOT_RECALLED, 0.0),
        ((0.3, 0.25, 0.0, 0.0), Verdict.NO_BASELINE, 0.0),
        ((0.0, 0.0, 0.0, 0.0), Verdict.NO_BASELINE, 0.0),
        ((0.1, 0.4, 0.4, 0.4), Verdict.NO_BASELINE, 0.0),
    ],
)
def test_verdict_follows_from_what_was_known_and_what_is_left(shares, verdict, left):
    found = entry(*shares)
    assert found.verdict is verdict
    assert found.left == pytest.approx(left)


def test_verdicts_are_counted_with_those_that_did_not_occur():
    evidence = Evidence(
        num_questions=20,
        deleted=(entry(1.0, 0.0, 0.0, 0.0), entry(1.0, 0.0, 0.9, 0.0), entry(0.0, 0.0, 0.0, 0.0)),
        control=(),
        num_unasked=2,
    ).to_dict()
    assert evidence["verdicts"] == {"NOT RECALLED": 1, "RESIDUAL": 1, "NO BASELINE": 1}
    assert evidence["deleted"][1]["left"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("received", "due"),
    [
        (date(2026, 1, 31), date(2026, 2, 28)),
        (date(2024, 1, 31), date(2024, 2, 29)),
        (date(2026, 12, 15), date(2027, 1, 15)),
        (None, None),
    ],
)
def test_a_request_is_due_a_month_after_receipt(received, due):
    assert RequestRecord(received=received).due == due


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "x" * 81, "a b", "a\n"])
def test_a_request_id_is_one_plain_name(name):
    with pytest.raises(ConfigError, match="letters, digits"):
        RequestRecord(request_id=name)
