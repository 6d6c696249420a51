"""The measures of a cleaner, on texts and markup of which every figure is known."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.benchmark.cleaner_quality import (
    EMPTY_PARENTHESES,
    RESIDUE,
    count_kept,
    count_residue,
    find_residue,
    read_numbers,
    read_prose_numbers,
)

LEFT = {
    "[[ or ]]": "see [[Rome for more",
    "{{ or }}": "an area of {{convert",
    "{| or |}": "{| and so on",
    "row of a table": "before\n|-\nafter",
    "HTML tag": "a<br />b",
    "<!-- or -->": "a <!-- b",
    "quote marks": "a ''b",
    "= heading =": "a\n== History ==\nb",
    "attribute": 'the style="color:red" of it',
    "thumb": "a\nthumb|left",
    "file or category": "Category:Cities",
    "list mark": "a\n* b",
    "entity": "a&#xA0;b",
    "magic word": "__NOTOC__",
    "url": "at https://x.org now",
}
CLEAN = (
    "The style of the class (1900; 1901) was 5 km wide: a $x_{{ij}} = [[a]]$ of f() and x[1]",
    "Rome's walls, \u201cquoted\u201d, 'quoted' and \"quoted\".\n- an item\n\u2014 B\n$1 and $2",
    "a < b > c & d = e; #1, C#, A* and 50 % of __init__",
)
HIDDEN_NUMBERS = {
    "reference": "<ref>12</ref><ref name=a>{{cite|13}}</ref><ref name='x'/>",
    "comment": "<!-- 12 -->",
    "formula": "<math>x^{12}</math>",
    "table": "\n{|\n| 12\n{|\n| 13\n|}\n|}\n",
    "heading": "\n== In 12 ==\n",
    "list": "\n* one two three four five six seven eight nine 12\n",
    "indented line": "\n: one two three four five six seven eight nine 12\n",
    "template of its own": "\n{{Infobox one two three four five six seven eight\n| a = 12\n}}\n",
    "citation": "{{cite book|year=12|13}}{{sfn|Smith|1999|p=9}}{{rp|12}}",
    "media": "[[File:A.jpg|thumb|the 12 [[b|13]]]]",
    "templates of their own": "\n{{Years|1939 1940 1941|{{b|1942 1943 1944}}|c}} {{x|1945 1946}}\n",
    "pictures": "\n{{double image|right|one two three four five six seven 12.png|13}}\n",
    "language link": "[[de:12]]",
    "named argument": "{{nowrap|1=5|x=12}}",
    "conversion": "{{convert|5|km|mi|12}}",
    "url": "http://x.org/12 [http://x.org/13 site]",
    "format of a ship": "{{USS|Hornet|CV-5|12}}",
    "translation of a verse": "{{bibleref|Mark|5|12}}",
    "end section": "\n== See also ==\none two three four five six seven eight 12\n=== x ===\n13",
    "short line": "\n\nonly 12 words\n\n",
}
SHOWN_NUMBERS = {
    "plain": ("1,300 and 5.25", ["1300", "5.25"]),
    "link": ("[[1999]] and [[Year|2000]]", ["1999", "2000"]),
    "external link": ("[http://x.org/1 the 12]", ["12"]),
    "unknown template": ("{{whatever|12|13}}", ["12", "13"]),
    "template in a template": ("{{nowrap|{{lang|de|12}}}}", ["12"]),
    "conversion": ("{{convert|10|to|20|km}} {{cvt|3,700|-|5500|m}}", ["10", "20", "3700", "5500"]),
    "date": ("{{birth date|1879|3|14|df=y}}", ["14", "1879"]),
    "verse": ("{{bibleverse|1|Peter|2:3|KJV}}", ["1", "2", "3"]),
    "exponent": ("10<sup>6</sup>", ["10", "6"]),
    "entity": ("5&nbsp;km", ["5"]),
}


def test_every_pattern_of_residue_has_an_example() -> None:
    assert LEFT.keys() == RESIDUE.keys()


@pytest.mark.parametrize("name", LEFT)
def test_residue_is_counted_under_its_name_and_no_other(name: str) -> None:
    assert count_residue(LEFT[name]) == Counter({name: 1})


@pytest.mark.parametrize("text", CLEAN)
def test_clean_text_has_no_residue(text: str) -> None:
    assert find_residue(text) == []


def test_context_of_residue_is_one_short_line() -> None:
    text = f"{'a' * 99}\n{{{{b\n{'c' * 99}"
    assert find_residue(text) == [("{{ or }}", f"{'a' * 39} {{{{b {'c' * 38}")]


def test_money_hides_no_residue_as_a_formula_does() -> None:
    assert not count_residue("so $\\frac{{a}}{b}$ is")
    assert count_residue("from $5 {{inflation\\}} to $10")["{{ or }}"] == 2


def test_formula_at_the_start_of_a_line_is_no_list() -> None:
    assert not count_residue("a\n$x_{1}$; b")


@pytest.mark.parametrize(
    "text", ["Rome () is", "Rome ( ; ) is", "Rome (, x) is", "Rome ( ; x) is", "(x; )", "()\na"]
)
def test_empty_parentheses_are_found(text: str) -> None:
    assert len(EMPTY_PARENTHESES.findall(text)) == 1


@pytest.mark.parametrize("text", ["call f() and (1,)", "(a; b)", "( a )"])
def test_full_parentheses_are_not_empty(text: str) -> None:
    assert not EMPTY_PARENTHESES.findall(text)


def test_numbers_are_read_without_commas_and_apart_from_small_digits() -> None:
    text = "1,300 mi, 6.241\u00d710\u00b9\u2078, H\u2082O, 1990\u201395, 20\u2081\u2086, 3-4."
    wanted = ["1300", "6.241", "10", "18", "2", "1990", "95", "20", "16", "3", "4"]
    assert read_numbers(text) == wanted


def longest_common(a: list[str], b: list[str]) -> int:
    """By the textbook's table."""
    row = [0] * (len(b) + 1)
    for item in a:
        diagonal = 0
        for place, other in enumerate(b, start=1):
            longest = diagonal + 1 if item == other else max(row[place], row[place - 1])
            diagonal, row[place] = row[place], longest
    return row[-1]


items = st.lists(st.sampled_from("abcd"), max_size=80)


@given(items, items)
def test_kept_items_are_the_longest_common_subsequence(wanted: list[str], found: list[str]) -> None:
    assert count_kept(wanted, found) == longest_common(wanted, found)


@given(items, st.data())
def test_items_left_out_are_all_that_is_missed(wanted: list[str], data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=len(wanted), max_size=len(wanted)))
    found = [item for item, kept in zip(wanted, keep, strict=True) if kept]
    assert count_kept(wanted, found) == len(found)


@pytest.mark.parametrize("case", HIDDEN_NUMBERS)
def test_number_that_is_no_prose_is_not_wanted(case: str) -> None:
    markup = f"In the year 5 there was a [[city]] that stood here.{HIDDEN_NUMBERS[case]}"
    assert set(read_prose_numbers(markup)) == {"5"}


@pytest.mark.parametrize("case", SHOWN_NUMBERS)
def test_number_in_prose_is_wanted(case: str) -> None:
    markup, numbers = SHOWN_NUMBERS[case]
    assert read_prose_numbers(f"a\n\nThere was a city of {markup} in the country.") == numbers


def test_prose_after_an_end_section_and_around_a_template_is_read() -> None:
    sentence = "one two three four five six seven {} nine ten"
    markup = "\n".join(
        (
            *("== References ==", sentence.format(1), "=== x ===", sentence.format(2)),
            *("== Later ==", "{{Infobox\n| a = 3\n}}" + sentence.format(4), sentence.format(5)),
        )
    )
    assert read_prose_numbers(markup) == ["4", "5"]
