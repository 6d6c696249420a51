"""Pages that are left out unparsed, and markup made to be slow."""

import time
from collections.abc import Callable

import pytest

from data_prep.wikitext import LinkPrefixes, clean_wikitext
from data_prep.wikitext_finish import LEFT_OUT, finish
from data_prep.wikitext_limits import (
    MAX_DEPTH,
    MAX_LIST_AND_TABLE_MARKS,
    MAX_MARKUP_BYTES,
    MAX_REREAD,
    find_excess,
)
from tests.wikitext_samples import HOSTILE, repeat

MARKED = (f"({LEFT_OUT} ", f"{LEFT_OUT};", f" {LEFT_OUT}", f"({LEFT_OUT};", f"{LEFT_OUT})")
"""Fragments of text that the last steps see, with the mark of what was left out."""


def test_size_counts_in_bytes() -> None:
    assert find_excess("\u00e9" * (MAX_MARKUP_BYTES // 2)) is None
    assert "bytes" in str(find_excess("\u00e9" * (MAX_MARKUP_BYTES // 2) + "a"))


def test_depth_counts_what_is_open_at_once() -> None:
    assert find_excess("{{" * MAX_DEPTH + "}}" * MAX_DEPTH) is None
    assert find_excess("{{a}}" * 10_000 + "[[b]]" * 10_000 + "{|\n|}\n" * 1000) is None
    assert "deeper than 40" in str(find_excess("[[" * (MAX_DEPTH + 1)))
    assert "deeper than 40" in str(find_excess("{{a|[[b|\n{|\n|" * (MAX_DEPTH // 3 + 1)))


def test_marks_of_lists_and_tables_are_limited() -> None:
    assert find_excess("*" * MAX_LIST_AND_TABLE_MARKS) is None
    assert "lists and tables" in str(find_excess("*#" * MAX_LIST_AND_TABLE_MARKS))


@pytest.mark.parametrize(
    "mark",
    [
        *("<b>", "<!--", "<math>", "[http://a b ", "<ref name={{a}}>", "</math><nowiki>"),
        *("{{a}} </div><div><div>", "<B>"),
    ],
)
def test_markup_never_closed_counts_with_the_text_after_it(mark: str) -> None:
    text = "x" * (MAX_REREAD // 10 - 20)
    assert find_excess(mark * 8 + text) is None
    assert "never closed" in str(find_excess(mark * 12 + text))


@pytest.mark.parametrize(
    "mark",
    [
        *("<b>x</b>", "<ref y/>", "<br>", "<!-- <b> -->", "[1]", "[http://a b]", "<math>{{</math>"),
        *("{{a|b=|}}", "\n{|\n| a\n|}\n", "{{a|\n{|\n|}}}", "<ref name={{a}}>b</ref>", "<B>x</b>"),
        *("a < b > c", "<li>x", "<nowiki><div></nowiki>", "<ref name={{a}}/>b</ref>"),
    ],
)
def test_closed_markup_is_free(mark: str) -> None:
    size = MAX_MARKUP_BYTES - 100
    assert find_excess(repeat(mark, size // 8 // len(mark) * len(mark))) is None


def clean_within_limits(markup: str) -> None:
    if find_excess(markup) is None:
        clean_wikitext(markup, LinkPrefixes())


def cpu_seconds(work: Callable[[str], object], text: str) -> float:
    begin = time.process_time()
    work(text)
    return time.process_time() - begin


def grows_linearly(
    work: Callable[[str], object], fragment: str, *, size: int, times: int, at_most: float
) -> bool:
    """Say whether `times` the text takes `at_most` times the time; noise gets three chances."""
    for _ in range(3):
        small = cpu_seconds(work, repeat(fragment, size))
        large = cpu_seconds(work, repeat(fragment, times * size))
        if large < max(at_most * small, 0.02):
            return True
    return False


@pytest.mark.parametrize("fragment", [*HOSTILE[::6], *MARKED[:2]])
def test_sample_of_hostile_markup_takes_no_quadratic_time(fragment: str) -> None:
    # Eight times as much would take 64 times as long.
    assert grows_linearly(clean_within_limits, fragment, size=4_000, times=8, at_most=24)
    assert grows_linearly(finish, fragment, size=4_000, times=8, at_most=24)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fragment", HOSTILE)
def test_hostile_markup_takes_linear_time_up_to_the_largest_page(fragment: str) -> None:
    half = MAX_MARKUP_BYTES // 2
    assert grows_linearly(clean_within_limits, fragment, size=half, times=2, at_most=2.6)


@pytest.mark.slow
@pytest.mark.parametrize("fragment", [*HOSTILE, *MARKED])
def test_patterns_of_the_last_steps_take_linear_time(fragment: str) -> None:
    half = MAX_MARKUP_BYTES // 2
    assert grows_linearly(finish, fragment, size=half, times=2, at_most=2.6)
