"""A stop signal is remembered inside the block, and handled as before outside of it."""

import os
import signal

import pytest

from nulls_dist.train.signals import STOP_SIGNALS, stack_dumps, stop_request


def test_preemption_the_time_limit_and_a_key_press_are_heard():
    assert set(STOP_SIGNALS) == {signal.SIGTERM, signal.SIGUSR1, signal.SIGINT}


def test_a_second_key_press_does_not_wait():
    with stop_request() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_remembered(number):
    with stop_request() as request:
        assert not request.requested
        os.kill(os.getpid(), number)
        assert request.requested


def test_the_handlers_before_are_restored_also_after_an_error():
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def fail():
        with stop_request():
            assert all(signal.getsignal(number) != before[number] for number in STOP_SIGNALS)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before


def test_sigusr2_tells_the_stacks_and_the_run_goes_on(capfd):
    before = signal.getsignal(signal.SIGUSR2)
    with stack_dumps():
        os.kill(os.getpid(), signal.SIGUSR2)
    assert "in test_sigusr2_tells_the_stacks_and_the_run_goes_on" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGUSR2) == before
