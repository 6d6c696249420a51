"""The log of events: one object per line, over all lives, also when an error ends one."""

import json
import logging
from datetime import UTC, datetime

import pytest

from nulls_dist.train.event_log import event_log

LOGGER = logging.getLogger("nulls_dist.train.saving")


def read(run_dir):
    lines = (run_dir / "log" / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_what_is_logged_and_published_is_noted_with_time_life_and_level(tmp_path):
    before = datetime.now(UTC)
    with event_log(tmp_path, 3, rank=0) as (hook,):
        LOGGER.warning("saving %s failed\nfor good", "x", extra={"event": "failed_save"})
        LOGGER.error("plain")
        hook.after_checkpoint(tmp_path / "checkpoints" / "step-00000007", 7)
    LOGGER.warning("of nobody's life")
    failed, plain, saved = read(tmp_path)
    assert list(failed) == ["time", "life", "level", "event", "message"]
    at = datetime.fromisoformat(failed.pop("time"))
    assert (at - before).total_seconds() > -0.01
    assert failed == {
        "life": 3,
        "level": "warning",
        "event": "failed_save",
        "message": "saving x failed\nfor good",
    }
    assert (plain["event"], plain["level"]) == ("message", "error")
    assert (saved["event"], saved["message"]) == ("checkpoint", "step 7 is saved: step-00000007")


def test_the_error_that_ends_a_life_is_its_last_event_and_later_lives_append(tmp_path):
    with pytest.raises(ValueError, match="out of luck"), event_log(tmp_path, 1, rank=0):
        raise ValueError("out of luck")
    with event_log(tmp_path, 2, rank=0):
        LOGGER.warning("again")
    assert [(line["life"], line["event"], line["message"]) for line in read(tmp_path)] == [
        (1, "failed", "ValueError: out of luck"),
        (2, "message", "again"),
    ]


def test_a_torn_line_takes_no_other_with_it(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "events.jsonl").write_text('{"time": "20')
    with event_log(tmp_path, 2, rank=0):
        LOGGER.warning("whole")
    torn, whole = (tmp_path / "log" / "events.jsonl").read_text().splitlines()
    assert torn == '{"time": "20'
    assert json.loads(whole)["message"] == "whole"


def test_other_ranks_write_nothing(tmp_path):
    with event_log(tmp_path, 1, rank=1) as hooks:
        LOGGER.warning("unheard")
    assert hooks == ()
    assert not (tmp_path / "log").exists()
