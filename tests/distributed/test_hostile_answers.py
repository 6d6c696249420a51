"""A command that takes its process down, or does not end, is told apart from those after it."""

import os
import time

import pytest

from nulls_dist.benchmark.faults.hostile import answers
from nulls_dist.errors import IntegrityError

pytestmark = pytest.mark.distributed

THIS = "tests.distributed.test_hostile_answers"


def main(argv):
    """Be a command that behaves as its argument says."""
    {
        "die": lambda: os._exit(9),
        "hang": lambda: time.sleep(1000),
        "refuse": lambda: refuse("a.bin: damaged"),
        "take": lambda: bytearray(100 << 20),
    }[argv[0]]()


def refuse(message):
    raise IntegrityError(message)


def test_every_command_has_its_own_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "_TIMEOUT_S", 20.0)
    behaviours = ("refuse", "die", "take", "hang", "refuse")
    found = answers.answer_all([(THIS, behaviour) for behaviour in behaviours], tmp_path)
    assert [answer.code for answer in found] == [5, None, 0, None, 5]
    assert found[0].said == found[4].said == "error: a.bin: damaged\n"
    assert found[2].grown_mib > 90
    assert found[4].grown_mib < 50
