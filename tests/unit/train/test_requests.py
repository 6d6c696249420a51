"""Files that a person makes are noticed once, and go when a checkpoint has answered them."""

import signal

import pytest

from nulls_dist.train.requests import Requests, RequestWatch
from nulls_dist.train.signals import StopRequest, stop_request


@pytest.fixture
def watch(tmp_path):
    return RequestWatch(StopRequest(), tmp_path)


def save(watch, step, run_dir, *, succeeds=True):
    watch.before_checkpoint(step)
    if succeeds:
        watch.after_checkpoint(run_dir, step)


def test_nothing_is_asked_where_nobody_asks(watch):
    assert watch.look() == Requests()
    assert not watch.look().leave


@pytest.mark.parametrize(
    ("name", "asked"), [("STOP", Requests(halt=True)), ("SAVE", Requests(save=True))]
)
def test_a_file_asks_once_and_disappears_when_a_checkpoint_is_complete(
    name, asked, watch, tmp_path
):
    (tmp_path / name).touch()
    assert watch.look() == asked
    assert asked.leave == (name == "STOP")
    assert watch.look() == Requests(), "the step after it was noticed"
    watch.before_checkpoint(5)
    assert (tmp_path / name).exists()
    watch.after_checkpoint(tmp_path, 5)
    assert not (tmp_path / name).exists()
    (tmp_path / name).touch()
    assert watch.look() == asked, "another request"


def test_a_checkpoint_that_was_begun_before_the_request_does_not_answer_it(watch, tmp_path):
    watch.before_checkpoint(4)
    (tmp_path / "SAVE").touch()
    assert watch.look().save
    watch.after_checkpoint(tmp_path, 4)
    assert (tmp_path / "SAVE").exists()
    save(watch, 5, tmp_path)
    assert not (tmp_path / "SAVE").exists()


def test_a_save_that_fails_is_not_tried_at_every_step_and_the_next_one_answers(watch, tmp_path):
    (tmp_path / "SAVE").touch()
    assert watch.look().save
    save(watch, 5, tmp_path, succeeds=False)
    assert not watch.look().save
    save(watch, 10, tmp_path)
    assert not (tmp_path / "SAVE").exists()


def test_what_cannot_be_removed_asks_once_and_ends_no_rank(watch, tmp_path, caplog):
    (tmp_path / "SAVE").mkdir()
    assert watch.look().save
    save(watch, 5, tmp_path)
    assert "SAVE is answered, but stays: Is a directory; remove it" in caplog.text
    assert not watch.look().save
    (tmp_path / "SAVE").rmdir()
    watch.look()
    (tmp_path / "SAVE").touch()
    assert watch.look().save


def test_a_request_that_is_taken_back_can_be_made_again(watch, tmp_path):
    (tmp_path / "SAVE").touch()
    watch.look()
    (tmp_path / "SAVE").unlink()
    watch.look()
    (tmp_path / "SAVE").touch()
    assert watch.look().save


def test_a_rank_that_does_not_look_hears_signals_only(tmp_path):
    (tmp_path / "STOP").touch()
    with stop_request() as signals:
        watch = RequestWatch(signals, None)
        assert watch.look() == Requests()
        signal.raise_signal(signal.SIGTERM)
        assert watch.look() == Requests(stop=True)
        assert watch.look().leave
        save(watch, 1, tmp_path)
    assert (tmp_path / "STOP").exists()
