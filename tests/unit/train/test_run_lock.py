"""Who holds a run directory can be seen without keeping anybody from holding it."""

import fcntl
import socket

import pytest

from nulls_dist.errors import LockedError
from nulls_dist.train.run_lock import is_held, locked


def test_the_lock_is_seen_while_it_is_held_and_not_afterwards(tmp_path):
    run_dir = tmp_path / "run"
    assert is_held(run_dir) is None
    with locked(run_dir):
        assert is_held(run_dir) is True
        with pytest.raises(LockedError, match="another process trains"), locked(run_dir):
            pass
        assert is_held(run_dir) is True
        assert (run_dir / ".lock").read_text() == f"{socket.gethostname()}\n"
    assert is_held(run_dir) is False


def test_looking_takes_no_lock(tmp_path, monkeypatch):
    with locked(tmp_path):
        pass

    def refuse(*_):
        raise AssertionError("a starting run would be refused")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert is_held(tmp_path) is False


def test_a_lock_of_another_host_cannot_be_seen(tmp_path):
    with locked(tmp_path):
        (tmp_path / ".lock").write_text("elsewhere\n")
        assert is_held(tmp_path) is None
