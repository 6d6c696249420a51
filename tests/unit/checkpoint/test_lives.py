"""The ledger of lives, and which of their steps are in the model."""

import pytest

from nulls_dist.checkpoint.lives import (
    Life,
    LifeEnd,
    LifeStart,
    append_life,
    counted_steps,
    read_lives,
)
from nulls_dist.errors import IntegrityError


def start(number, first):
    return LifeStart(
        life=number,
        first_step=first,
        first_data_step=0,
        rows_per_step=8,
        seed=0,
        world_size=2,
        topology={"dp": 2},
        parallel={"ep": 0},
        corpus="wiki",
        corpus_sha256="0" * 64,
        exposure=True,
        versions={"python": "3"},
        started_at="2030-01-01T00:00:00+00:00",
    )


def end(number, last, outcome="stopped"):
    return LifeEnd(
        life=number, last_step=last, outcome=outcome, ended_at="2030-01-01T00:01:00+00:00"
    )


def lives_of(*spans):
    """Lives as (first step, last step); None for one that was killed."""
    return [
        Life(start=start(number, first), end=None if last is None else end(number, last))
        for number, (first, last) in enumerate(spans, start=1)
    ]


@pytest.mark.parametrize(
    ("spans", "newest", "counted"),
    [
        ([(0, 8)], 8, [(0, 8)]),
        ([(0, 3), (3, 8)], 8, [(0, 3), (3, 8)]),
        # Killed after step 5 or later, the newest checkpoint of then was that of step 4.
        ([(0, None), (4, 8)], 8, [(0, 4), (4, 8)]),
        ([(0, None)], 4, [(0, 4)]),
        # Failed at step 7, continued from step 4.
        ([(0, 7), (4, 8)], 8, [(0, 4), (4, 8)]),
        # Failed before its first step, and again.
        ([(0, 4), (4, 4), (4, None), (4, 8)], 8, [(0, 4), (4, 4), (4, 4), (4, 8)]),
        # Newer checkpoints were removed by hand: the second life is void, the first one in part.
        ([(0, 4), (4, 8), (2, 6)], 6, [(0, 2), (2, 2), (2, 6)]),
        # Continues the checkpoint of another run.
        ([(40, 44), (44, None)], 48, [(40, 44), (44, 48)]),
        # Still going on.
        ([(0, None)], 0, [(0, 0)]),
    ],
)
def test_later_lives_make_void_what_was_trained_after_their_first_step(spans, newest, counted):
    steps = counted_steps(lives_of(*spans), newest)
    assert [(entry.first, entry.last) for entry in steps] == counted
    assert [entry.life.start.life for entry in steps] == list(range(1, len(spans) + 1))


@pytest.mark.parametrize(
    ("spans", "newest", "missing"),
    [([(0, 4), (6, 8)], 8, "5 to 6"), ([(0, 4), (4, 6)], 8, "7 to 8")],
)
def test_steps_that_no_life_trained_are_named(spans, newest, missing):
    with pytest.raises(IntegrityError, match=f"no life trained steps {missing}"):
        counted_steps(lives_of(*spans), newest)


def test_records_are_read_as_written(tmp_path):
    assert read_lives(tmp_path) == []
    for record in (start(1, 0), end(1, 4, "failed"), start(2, 3), start(3, 3), end(3, 9, "done")):
        append_life(tmp_path, record)
    assert read_lives(tmp_path) == [
        Life(start=start(1, 0), end=end(1, 4, "failed")),
        Life(start=start(2, 3), end=None),
        Life(start=start(3, 3), end=end(3, 9, "done")),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"life": 2', '"life": 3'),
        ('"first_step": 4', '"first_step": true'),
        ('"first_step": 4', '"first_step": "4"'),
        ('"seed": 0, ', ""),
        ('"record": "start"', '"record": "middle"'),
        ('"wiki"', '"wiki'),
        ('{"record"', '["record"'),
    ],
)
def test_a_damaged_line_is_named(tmp_path, old, new):
    append_life(tmp_path, start(1, 0))
    append_life(tmp_path, start(2, 4))
    path = tmp_path / "lives.jsonl"
    first, second = path.read_text().splitlines()
    assert old in second
    path.write_text(f"{first}\n{second.replace(old, new)}\n")
    with pytest.raises(IntegrityError, match=r"lives\.jsonl, line 2: no record of a life"):
        read_lives(tmp_path)


def test_an_end_without_a_beginning_is_refused(tmp_path):
    append_life(tmp_path, end(1, 4))
    with pytest.raises(IntegrityError, match="line 1"):
        read_lives(tmp_path)
