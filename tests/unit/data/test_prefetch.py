"""Working ahead changes when items are made, never which."""

import threading
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.data.prefetch import prefetch
from nulls_dist.errors import IntegrityError


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@given(st.lists(st.integers(), max_size=20), st.integers(1, 5))
def test_items_are_those_made_without_a_thread_in_the_same_order(keys, ahead):
    with prefetch(lambda key: (key, key * 2), keys, ahead=ahead) as items:
        assert list(items) == [(key, key * 2) for key in keys]
    assert not prefetch_threads()


def test_items_are_made_in_one_other_thread_before_they_are_asked_for():
    third_is_made = threading.Event()
    makers = set()

    def make(key):
        makers.add(threading.current_thread())
        if key == 2:
            third_is_made.set()
        return key

    with prefetch(make, count(), ahead=2) as items:
        assert next(items) == 0
        assert third_is_made.wait(timeout=30)  # while the caller still uses the first
    assert len(makers) == 1
    assert threading.current_thread() not in makers


def test_no_more_items_are_made_than_may_wait():
    made = []
    with prefetch(made.append, count(), ahead=3) as items:
        for _ in range(5):
            next(items)
    assert made == list(range(len(made)))
    assert len(made) <= 5 + 3


def test_an_error_keeps_its_type_and_comes_after_the_items_before_it():
    def make(key):
        if key == 3:
            raise IntegrityError("part-00000.arrow: damaged")
        return key

    seen = []
    with (
        pytest.raises(IntegrityError, match="damaged"),
        prefetch(make, range(10), ahead=2) as items,
    ):
        seen.extend(items)  # extend keeps what came before the error
    assert seen == [0, 1, 2]
    assert not prefetch_threads()


def test_the_thread_ends_with_a_block_that_fails_and_begins_nothing_more():
    begun = []

    def fail():
        with prefetch(begun.append, count(), ahead=2) as items:
            next(items)
            raise KeyError("the caller's")

    with pytest.raises(KeyError, match="the caller's"):
        fail()
    assert not prefetch_threads()
    assert len(begun) <= 3
