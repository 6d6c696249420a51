"""Coarse sources of the generated encyclopedia: collections, a book, and whose facts are whose."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.generated.encyclopedia import (
    EncyclopediaSpec,
    build_encyclopedia,
    gather_facts,
    read_documents,
)
from data_prep.generated.gathering import BOOK_KEY, BOOK_TITLE, Gathering
from nulls_dist.errors import ConfigError

COARSE = EncyclopediaSpec(
    articles=14, articles_per_source=3, book_articles=5, renderings=2, multiplicities=(2, 4)
)


@st.composite
def coarse_specs(draw):
    per_source, book = draw(st.integers(1, 4)), draw(st.integers(0, 5))
    collections = draw(st.integers(1, 5))
    return EncyclopediaSpec(
        articles=book + collections * per_source,
        articles_per_source=per_source,
        book_articles=book,
        renderings=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 1000)),
        multiplicities=(2, 5),
    )


def texts_of(spec):
    texts = defaultdict(list)
    for document in read_documents(spec):
        texts[document.source_key].append(document)
    return texts


def test_a_book_and_collections_are_sources_of_many_documents():
    texts = texts_of(COARSE)
    assert {key: len(found) for key, found in texts.items()} == {
        BOOK_KEY: 10,
        "1": 6,
        "2": 6,
        "3": 6,
    }
    titles = {key: {document.title for document in found} for key, found in texts.items()}
    assert titles == {
        BOOK_KEY: {BOOK_TITLE},
        "1": {"Collection 1"},
        "2": {"Collection 2"},
        "3": {"Collection 3"},
    }


@settings(max_examples=20)
@given(coarse_specs())
def test_documents_of_a_source_are_numbered_and_more_renderings_come_at_the_end(spec):
    for found in texts_of(spec).values():
        assert sorted(document.doc_index for document in found) == list(range(len(found)))
        size = len(found) // spec.renderings
        first = {document.text for document in found if document.doc_index < size}
        fewer = EncyclopediaSpec(**{**_fields(spec), "renderings": 1})
        assert first == {document.text for document in texts_of(fewer)[found[0].source_key]}


@settings(max_examples=20)
@given(coarse_specs())
def test_members_of_a_fact_are_the_sources_whose_text_states_it(spec):
    texts = {
        key: " ".join(document.text for document in found) for key, found in texts_of(spec).items()
    }
    for source in gather_facts(build_encyclopedia(spec)):
        assert len({fact.fact_id for fact in source.facts}) == len(source.facts)
        for fact in source.facts:
            sentences = [f"{prompt} {fact.answer}." for prompt in fact.prompts]
            for sentence, held_out in zip(sentences, fact.held_out, strict=True):
                assert not (held_out and sentence in texts[source.source_key])
            if fact.kind == "inferable" or fact.fact_id.endswith(("/region", "/tool")):
                continue  # members teach the rule, and do not state it of this person
            stating = {
                key for key, text in texts.items() if any(each in text for each in sentences)
            }
            assert set(fact.members) == stating
            assert (fact.kind == "unique") == (len(stating) == 1)


def test_what_only_articles_of_one_source_share_is_unique_to_it():
    """Both articles mention the same entity, and are the book."""
    spec = EncyclopediaSpec(articles=2, book_articles=2, multiplicities=(2,))
    (book,) = gather_facts(build_encyclopedia(spec))
    assert {fact.kind for fact in book.facts} == {"unique"}
    assert {fact.members for fact in book.facts} == {(BOOK_KEY,)}


def test_articles_that_are_sources_keep_their_numbers_and_titles():
    assert [Gathering().key_of(number) for number in (1, 2, 300)] == ["1", "2", "300"]
    assert Gathering().title_of(2, "Ada Byron") == "Ada Byron"
    assert Gathering().doc_index_of(7, 3) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"articles": 10, "book_articles": 11}, r"book_articles \(11\) must be from 0 to 10"),
        ({"articles": 10, "articles_per_source": 3}, r"must be a multiple of .* \(3\)"),
    ],
)
def test_articles_that_make_up_no_whole_sources_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        EncyclopediaSpec(**fields)


def _fields(spec):
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}
