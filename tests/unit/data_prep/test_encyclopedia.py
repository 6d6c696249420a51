"""The generated encyclopedia says exactly what its ground truth claims, and nothing else."""

import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.documents import Document
from data_prep.generated.draws import Draws, Purpose
from data_prep.generated.encyclopedia import (
    Article,
    Encyclopedia,
    EncyclopediaSpec,
    Fact,
    build_encyclopedia,
    read_documents,
)
from data_prep.generated.probes import write_facts
from data_prep.generated.words import Inventor, WordKind
from data_prep.readers import open_generated
from nulls_dist.errors import ConfigError

SMALL = EncyclopediaSpec(articles=62, renderings=6, seed=5)

specs = st.builds(
    EncyclopediaSpec,
    articles=st.integers(1, 40),
    renderings=st.integers(1, 3),
    seed=st.integers(0, 2**64 - 1),
    multiplicities=st.sets(st.integers(2, 50), max_size=3).map(lambda m: tuple(sorted(m))),
    num_values=st.integers(6, 40),
    num_surnames=st.integers(6, 15),
    num_professions=st.integers(6, 24),
)


@pytest.fixture(scope="module")
def small() -> Encyclopedia:
    return build_encyclopedia(SMALL)


@pytest.fixture(scope="module")
def text_of() -> dict[str, str]:
    """Source key -> all its documents, one per line."""
    return texts_by_source(read_documents(SMALL))


def texts_by_source(documents: Iterable[Document]) -> dict[str, str]:
    texts = defaultdict(list)
    for document in documents:
        texts[document.source_key].append(document.text)
    return {key: "\n".join(lines) for key, lines in texts.items()}


def sources_stating(fact: Fact, text_of: dict[str, str]) -> tuple[str, ...]:
    """Find, by reading, the sources that state the fact in any phrasing."""
    sentences = [f"{prompt} {fact.answer}." for prompt in fact.prompts]
    return tuple(key for key, text in text_of.items() if any(s in text for s in sentences))


def facts_of(encyclopedia: Encyclopedia, kind: str) -> list[tuple[Article, Fact]]:
    return [(a, fact) for a in encyclopedia.articles for fact in a.facts if fact.kind == kind]


def test_every_shared_fact_is_stated_by_exactly_its_multiplicity_of_articles(small, text_of):
    shared = {fact.fact_id: fact for _, fact in facts_of(small, "shared")}
    # 62 articles: 20 groups of 3, 6 groups of 10 and 2 groups of 30, with two facts each.
    counts = Counter(fact.multiplicity for fact in shared.values())
    assert counts == {3: 40, 10: 12, 30: 4}
    for fact in shared.values():
        stating = sources_stating(fact, text_of)
        assert len(stating) == fact.multiplicity
        assert stating == fact.members


def test_a_shared_fact_is_asked_for_alike_in_every_article(small):
    by_id = defaultdict(set)
    for _, fact in facts_of(small, "shared"):
        by_id[fact.fact_id].add((fact.answer, fact.wrong_answers, fact.prompts, fact.members))
    assert all(len(variants) == 1 for variants in by_id.values())


def test_articles_left_over_from_the_last_group_mention_no_entity_of_that_multiplicity(small):
    for multiplicity in SMALL.multiplicities:
        mentions = [
            sum(f.multiplicity == multiplicity for f in a.facts if f.kind == "shared")
            for a in small.articles
        ]
        assert Counter(mentions) == {2: 60, 0: 2}


def test_every_unique_fact_is_stated_by_its_own_article_only(small, text_of):
    unique = facts_of(small, "unique")
    assert len(unique) == 6 * SMALL.articles
    for article, fact in unique:
        assert sources_stating(fact, text_of) == fact.members == (article.source_key,)


def test_held_out_phrasings_never_occur_in_the_articles_documents(small, text_of):
    for article in small.articles:
        for fact in article.facts:
            assert sum(fact.held_out) == 2
            for prompt, held_out in zip(fact.prompts, fact.held_out, strict=True):
                assert not (held_out and prompt in text_of[article.source_key])


def test_the_choice_of_held_out_phrasings_differs_between_articles_and_facts(small):
    drawn = Counter(fact.held_out for article in small.articles for fact in article.facts)
    assert len(drawn) == 10  # all ways to hold out 2 of 5


def surname(fact: Fact) -> str:
    first_prompt = fact.prompts[0]  # "FIRST LAST came from the region of"
    return first_prompt.split()[1]


def profession(fact: Fact) -> str:
    first_prompt = fact.prompts[0]  # "FIRST LAST was a PROFESSION and worked with a"
    return first_prompt.split()[4]


@pytest.mark.parametrize(("attribute", "cue_of"), [("region", surname), ("tool", profession)])
def test_an_inferable_fact_follows_from_a_cue_that_other_articles_teach(
    small, text_of, attribute, cue_of
):
    facts = [(a, f) for a, f in facts_of(small, "inferable") if f.attribute == attribute]
    keys_of, values_of = defaultdict(set), defaultdict(set)
    for article, fact in facts:
        assert article.source_key in sources_stating(fact, text_of)
        keys_of[cue_of(fact)].add(article.source_key)
        values_of[cue_of(fact)].add(fact.answer)
    assert len(values_of) == 12
    assert all(len(values) == 1 for values in values_of.values())
    assert len(set.union(*values_of.values())) == 12
    for _, fact in facts:
        assert set(fact.members) == keys_of[cue_of(fact)]
        assert len(fact.members) >= 5  # 62 articles in 12 groups


@given(specs)
def test_documents_consist_of_one_training_sentence_per_fact_and_of_nothing_else(spec):
    articles = {article.source_key: article for article in build_encyclopedia(spec).articles}
    documents = list(read_documents(spec))
    assert [(d.source_key, d.doc_index) for d in documents] == [
        (str(a + 1), r) for a in range(spec.articles) for r in range(spec.renderings)
    ]
    for document in documents:
        facts = articles[document.source_key].facts
        sentences = document.text.removesuffix(".").split(". ")
        stated = [
            (fact.fact_id, phrasing)
            for sentence in sentences
            for fact in facts
            for phrasing, prompt in enumerate(fact.prompts)
            if sentence == f"{prompt} {fact.answer}"
        ]
        assert sorted(fact_id for fact_id, _ in stated) == sorted(f.fact_id for f in facts)
        assert len(stated) == len(sentences)
        held_out = {fact.fact_id: fact.held_out for fact in facts}
        assert not any(held_out[fact_id][phrasing] for fact_id, phrasing in stated)
        for fact in facts:
            for phrasing, prompt in enumerate(fact.prompts):
                occurs = f"{prompt} {fact.answer}." in document.text
                assert occurs == ((fact.fact_id, phrasing) in stated)


@given(specs)
def test_wrong_answers_are_five_other_values_of_the_attribute(spec):
    vocabulary = defaultdict(set)
    facts = [fact for article in build_encyclopedia(spec).articles for fact in article.facts]
    for fact in facts:
        vocabulary[fact.attribute] |= {fact.answer, *fact.wrong_answers}
        assert len({fact.answer, *fact.wrong_answers}) == 6
        assert len(fact.wrong_answers) == 5
    size = {"region": spec.num_surnames, "tool": spec.num_professions}
    for attribute, values in vocabulary.items():
        assert len(values) <= size.get(attribute, spec.num_values)
    values = [value for words in vocabulary.values() for value in words]
    assert len(set(values)) == len(values)  # no value serves two attributes


@given(specs)
def test_no_prompt_has_two_answers(spec):
    answers = defaultdict(set)
    for article in build_encyclopedia(spec).articles:
        for fact in article.facts:
            for prompt in fact.prompts:
                answers[prompt].add(fact.answer)
    assert all(len(found) == 1 for found in answers.values())


def test_documents_are_short_plain_english(text_of):
    lines = [line for text in text_of.values() for line in text.split("\n")]
    sentences = [s for line in lines for s in line.removesuffix(".").split(". ")]
    assert 110 <= sum(len(line.split()) for line in lines) / len(lines) <= 130
    assert all(5 <= len(sentence.split()) <= 12 for sentence in sentences)
    assert all(sentence[0].isupper() for sentence in sentences)
    assert all(line.isascii() and line.endswith(".") and "  " not in line for line in lines)
    assert not any(character in text for text in text_of.values() for character in "{}")


def test_documents_carry_source_title_and_licence(small):
    first = next(iter(read_documents(SMALL)))
    assert first.source_key == small.articles[0].source_key == "1"
    assert first.title == small.articles[0].title
    assert len(first.title.split()) == 2
    assert (first.licence, first.url, first.rev_id, first.timestamp) == ("CC0-1.0", "", 0, "")


def test_documents_are_the_same_for_ever():
    digest = hashlib.sha256()
    for document in read_documents(EncyclopediaSpec(articles=30, renderings=2, seed=1)):
        digest.update(f"{document.source_key}\t{document.title}\t{document.text}\n".encode())
    assert digest.hexdigest() == "feebf13752b05564ecb4cc4ebc44a6432a1845ee033858a3eb7bbfd68be00a92"


def test_a_build_that_was_killed_is_known_again_by_its_description():
    description = open_generated(SMALL, name=None).describe()
    assert json.loads(json.dumps(description)) == description


def test_draws_are_the_same_for_ever():
    draws = Draws(1, Purpose.DOCUMENT, 2, 3)
    assert [draws.below(1000) for _ in range(6)] == [6, 288, 142, 637, 745, 300]
    assert "".join(draws.shuffled("abcdefgh")) == "dbecafhg"


def test_another_seed_invents_another_world():
    titles = {
        frozenset(
            a.title for a in build_encyclopedia(EncyclopediaSpec(articles=20, seed=s)).articles
        )
        for s in range(5)
    }
    assert len(titles) == 5


def test_a_document_does_not_depend_on_the_number_of_renderings():
    few = list(read_documents(EncyclopediaSpec(articles=7, renderings=2)))
    many = list(read_documents(EncyclopediaSpec(articles=7, renderings=9)))
    assert few == [document for document in many if document.doc_index < 2]
    assert len({document.text for document in many}) == len(many)


def test_one_article_has_no_shared_facts_and_a_rule_of_its_own():
    (article,) = build_encyclopedia(EncyclopediaSpec(articles=1)).articles
    assert [fact.kind for fact in article.facts] == ["unique"] * 6 + ["inferable"] * 2
    assert all(fact.members == ("1",) for fact in article.facts)


def test_two_articles_teach_each_other_their_rules():
    spec = EncyclopediaSpec(articles=2, multiplicities=(2, 3))
    first, second = build_encyclopedia(spec).articles
    assert [fact.kind for fact in first.facts] == ["unique"] * 6 + ["shared"] * 2 + [
        "inferable"
    ] * 2
    assert [f.answer for f in first.facts[6:]] == [f.answer for f in second.facts[6:]]
    assert all(fact.members == ("1", "2") for fact in first.facts[6:])
    assert first.title != second.title


def test_five_thousand_articles_are_built_in_seconds_with_distinct_titles():
    start = time.process_time()
    articles = build_encyclopedia(EncyclopediaSpec(articles=5000)).articles
    assert time.process_time() - start < 5
    assert len({article.title for article in articles}) == 5000


def test_words_do_not_run_out():
    inventor = Inventor(Draws(0, Purpose.WORLD))
    words = inventor.invent(WordKind.SHIP, 20_000)  # short stems allow 4,485
    assert len(set(words)) == 20_000
    assert all(word.isalpha() and word[0].isupper() and len(word) < 25 for word in words)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("articles", 0, r"encyclopedia.articles \(0\) must be from 1 to"),
        ("renderings", 0, r"encyclopedia.renderings \(0\) must be from 1 to"),
        ("seed", -1, r"encyclopedia.seed \(-1\) must be from 0 to"),
        ("seed", 2**64, r"encyclopedia.seed \(18446744073709551616\) must be from 0 to"),
        ("num_values", 5, r"encyclopedia.num_values \(5\) must be from 6 to 300"),
        ("num_values", 301, r"encyclopedia.num_values \(301\) must be from 6 to 300"),
        ("num_surnames", 5, r"encyclopedia.num_surnames \(5\) must be from 6 to"),
        ("num_professions", 25, r"encyclopedia.num_professions \(25\) must be from 6 to 24"),
        (
            "multiplicities",
            (1, 3),
            r"multiplicities \(1, 3\) must be ascending numbers of at least 2",
        ),
        ("multiplicities", (3, 3), r"multiplicities \(3, 3\) must be ascending"),
        ("multiplicities", (10, 3), r"multiplicities \(10, 3\) must be ascending"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field, value, message):
    with pytest.raises(ConfigError, match=message):
        EncyclopediaSpec(**{field: value})


def source_id(source_key: str) -> int:
    """Stand-in for the corpus's hash: distinct, above 2**63, and not in the order of the keys."""
    return 2**64 - 2 - int(source_key)


def test_the_table_of_facts_holds_every_article_fact_and_phrasing(small, tmp_path: Path):
    write_facts(small, tmp_path / "facts.parquet", source_id)
    rows = iter(pq.read_table(tmp_path / "facts.parquet").to_pylist())
    for article in small.articles:
        for fact in article.facts:
            for phrasing in range(5):
                assert next(rows) == {
                    "source_id": source_id(article.source_key),
                    "source_key": article.source_key,
                    "title": article.title,
                    "fact_id": fact.fact_id,
                    "kind": fact.kind,
                    "attribute": fact.attribute,
                    "multiplicity": len(fact.members),
                    "member_ids": sorted(source_id(key) for key in fact.members),
                    "phrasing": phrasing,
                    "held_out": fact.held_out[phrasing],
                    "prompt": fact.prompts[phrasing],
                    "answer": fact.answer,
                    "wrong_answers": list(fact.wrong_answers),
                }
    assert next(rows, None) is None


def test_the_table_of_facts_has_the_promised_types(small, tmp_path: Path):
    write_facts(small, tmp_path / "facts.parquet", source_id)
    file = pq.ParquetFile(tmp_path / "facts.parquet")
    types = {field.name: field.type for field in file.schema_arrow}
    text = dict.fromkeys(
        ["source_key", "title", "fact_id", "kind", "attribute", "prompt", "answer"], pa.string()
    )
    numbers = {"source_id": pa.uint64(), "multiplicity": pa.int32(), "phrasing": pa.int8()}
    lists = {"member_ids": pa.list_(pa.uint64()), "wrong_answers": pa.list_(pa.string())}
    assert types == text | numbers | lists | {"held_out": pa.bool_()}
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_table_of_facts_is_written_in_equal_bytes_and_several_row_groups(tmp_path: Path):
    for name in ("first", "second"):
        write_facts(build_encyclopedia(EncyclopediaSpec(articles=257)), tmp_path / name, source_id)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    metadata = pq.ParquetFile(tmp_path / "first").metadata
    assert metadata.num_row_groups == 2
    shared = 2 * (255 + 250 + 240)  # what 3, 10 and 30 cover of 257 articles, two facts each
    assert metadata.num_rows == 5 * (257 * 8 + shared)
