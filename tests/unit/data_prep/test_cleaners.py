"""The cleaners as a build uses them: the choice, the recipe, real, random and slow pages."""

import multiprocessing
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mwparserfromhell.parser import ParserError

from data_prep.cleaners import CLEANERS, WikitextCleaner
from data_prep.documents import Document, Quarantined
from data_prep.mediawiki import Dump
from data_prep.wikitext import LinkPrefixes, clean_wikitext
from data_prep.wikitext_hf import clean_like_hugging_face
from data_prep.wikitext_limits import find_excess
from tests.wikitext_samples import random_wikitext

MAX_FUZZ_SECONDS = 20
MAX_FUZZ_BYTES = 4 << 30
"""Of address space, most of which the libraries map without using it."""


def page(text: str) -> Document:
    return Document(source_key="7", doc_index=0, title="A", text=text)


@pytest.mark.parametrize("name", CLEANERS)
def test_page_over_a_limit_is_quarantined_with_its_name_and_the_reason(name: str) -> None:
    found = WikitextCleaner(name=name)(page("{{" * 99))
    assert found == Quarantined(
        source_key="7", title="A", reason="templates, links and tables nested deeper than 40"
    )


def test_page_that_the_parser_cannot_read_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(markup: str, prefixes: LinkPrefixes) -> str:
        raise ParserError("lost")

    monkeypatch.setitem(CLEANERS, "nulls", (fail, "nulls-0"))
    found = WikitextCleaner(name="nulls")(page("a"))
    assert isinstance(found, Quarantined)
    assert "parser cannot read" in found.reason


HF_CASES = {
    "templates are lost": ("an area of {{convert|5|km2}}, is", "an area of , is"),
    "media": ("a [[Datei:B.jpg|thumb|c [[d]]]] [[file:e.png]]f", "a  f"),
    "category": ("a\n[[Category:Cities]]\n[[Kategorie:Orte|Rom]]", "a\nCities\nRom"),
    "reference": ("a<ref>b</ref><ref name=c/> d", "a d"),
    "table": ("a\n{|\n| b\n|}\nc", "a\n\nc"),
    "sections": ("a\n== References ==\nb\n__NOTOC__\n=== C ===\n", "a\n\nReferences \nb\n\n\nC"),
    "end sections stay": ("a\n== See also ==\n* b", "a\n\nSee also \n b"),
    "quotes": ("'''a''' ''b''", "a b"),
}


@pytest.mark.parametrize("case", HF_CASES)
def test_hugging_face_recipe_step_by_step(case: str) -> None:
    markup, expected = HF_CASES[case]
    prefixes = LinkPrefixes.of_namespaces({6: "Datei", 14: "Kategorie"})
    assert clean_like_hugging_face(markup, prefixes) == expected


@given(st.text(st.sampled_from(list("{}[]|=<>/'*#:; \nab-!&")), max_size=60))
def test_any_markup_is_cleaned_without_an_error(markup: str) -> None:
    text = clean_wikitext(markup, LinkPrefixes())
    assert text == text.strip()
    assert "\n\n\n" not in text


def clean_random_pages(seeds: range) -> None:
    for seed in seeds:
        markup = random_wikitext(seed)
        begin = time.process_time()
        if find_excess(markup) is None:
            text = clean_wikitext(markup, LinkPrefixes())
            assert not re.search("[\x00-\x08]|\n\n\n", text), seed
            assert text == clean_wikitext(markup, LinkPrefixes()), seed
        assert time.process_time() - begin < MAX_FUZZ_SECONDS, seed


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_FUZZ_BYTES, MAX_FUZZ_BYTES))


def test_sample_of_random_pages_is_cleaned_without_an_error() -> None:
    clean_random_pages(range(150))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_random_pages_are_cleaned_without_error_hang_or_much_memory() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=limit_memory) as pool:
        for begin in range(0, 5000, 500):
            pool.submit(clean_random_pages, range(begin, begin + 500)).result()


def test_page_that_takes_too_long_ends_the_process_and_is_named() -> None:
    script = """
import time
from data_prep import cleaners
from data_prep.documents import Document
slow = lambda markup, prefixes: time.sleep(float(markup)) or markup
cleaners.CLEANERS["slow"] = (slow, "slow-1")
cleaner = cleaners.WikitextCleaner(name="slow", max_seconds=1.5)
for key, text in enumerate(["0", "0", "60"]):
    cleaner(Document(source_key=str(key), doc_index=0, title="Slow 'page'", text=text))
    time.sleep(1.6)  # between pages, time does not count
    print("cleaned", key, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9
    assert done.stdout == "cleaned 0\ncleaned 1\n"
    assert done.stderr == (
        "error: page \"Slow 'page'\" (key 2) takes more than 1.5 s to clean; the build ends here. "
        "Leave the page out with --exclude\n"
    )


def test_real_articles_keep_facts_and_leave_no_markup(test_data: Path) -> None:
    path = test_data / "dump" / "enwiki-excerpt-multistream.xml.bz2"
    wanted = {"Alabama", "Algeria", "Ampere", "Austin (disambiguation)"}
    texts: dict[str, str] = {}
    for item in Dump(path).items():
        if isinstance(item, Document) and item.title in wanted:
            cleaned = WikitextCleaner(name="nulls")(item)
            assert isinstance(cleaned, Document)
            texts[item.title] = cleaned.text
    assert texts.keys() == wanted
    assert "At 1,300 mi, Alabama has one of the longest navigable" in texts["Alabama"]
    assert "With an area of 2,381,741 km\u00b2, Algeria is" in texts["Algeria"]
    assert "(roughly 6.241\u00d710\u00b9\u2078 times the elementary charge)" in texts["Ampere"]
    assert "- Austin, Manitoba\n" in texts["Austin (disambiguation)"]
