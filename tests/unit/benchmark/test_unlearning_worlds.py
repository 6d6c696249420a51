"""Worlds of the source-unlearning benchmark: what is whose fact, and which sources go."""

import json
import lzma
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep import build
from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.unlearning.encyclopedia import BOOK_TITLE
from nulls_dist.benchmark.unlearning.lab import begin_lab
from nulls_dist.benchmark.unlearning.real_facts import (
    members_of,
    shape_of,
    words,
    write_facts,
    wrong_answers,
)
from nulls_dist.benchmark.unlearning.real_text import (
    Article,
    Paragraph,
    Question,
    Texts,
    read_questions,
    split_text,
)
from nulls_dist.benchmark.unlearning.real_world import choose_articles, documents_of
from nulls_dist.benchmark.unlearning.run import run
from nulls_dist.benchmark.unlearning.sizes import NULLS, RETRAINED, SIZES
from nulls_dist.benchmark.unlearning.world import build_world, read_groups
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import FACTS_FILE, SOURCES_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.eval.facts import read_probes

SMALL = replace(
    SIZES["coarse"],
    articles=5,
    deleted=2,
    unseen=2,
    kept_asked=2,
    unseen_asked=1,
    renderings=2,
    articles_per_source=2,
    book_articles=4,
    vocabulary=500,
)


def article(title, *texts, questions=()):
    """An article whose first paragraph answers all of its questions."""
    paragraphs = [Paragraph(text=text) for text in texts]
    paragraphs[0] = replace(paragraphs[0], questions=tuple(questions))
    return Article(title=title, paragraphs=tuple(paragraphs))


def question(number, answer):
    return Question(fact_id=str(number), text=f"What is {number}?", answer=answer)


def test_a_fact_is_shared_where_another_article_states_its_answer(tmp_path):
    asked = [question(1, "Ada Byron"), question(2, "art"), question(3, "1815")]
    articles = [
        article("Engine", "Ada Byron wrote on art in 1815.", questions=asked),
        article("Poet", "His daughter was ada  BYRON, born in December."),
        article("Party", "The party lasted until 18:15."),
    ]
    ids = {"Engine": 7, "Poet": 8, "Party": 9}
    write_facts(articles, dict.fromkeys(ids, 1), ids, tmp_path / FACTS_FILE)
    found = {probe.answer: probe for probe in read_probes(tmp_path / FACTS_FILE, ids.values())}
    assert {answer: probe.kind for answer, probe in found.items()} == {
        "Ada Byron": "shared",
        "art": "unique",
        "1815": "unique",
    }
    assert found["Ada Byron"].member_ids == (7, 8)
    assert found["Ada Byron"].multiplicity == 2
    assert found["art"].member_ids == (7,)


def test_words_are_compared_whatever_their_case_and_punctuation():
    stated = {1: words("The U.S. party, 'New York'!"), 2: words("new, york")}
    assert members_of("new york", stated) == [1, 2]
    assert members_of("art", stated) == []


def test_wrong_answers_look_like_the_right_one_and_neither_holds_the_other():
    answers = ["1066", "1067", "10 May 1066", "Harold", "King Harold", "William", "of oak"]
    found = wrong_answers("1066", {each: words(each) for each in answers})
    assert found[0] == "1067"
    assert "10 May 1066" not in found
    assert wrong_answers("Harold", {each: words(each) for each in answers})[0] == "William"
    assert [shape_of(each) for each in ("in 1066", "Harold", "of oak")] == [
        "number",
        "name",
        "words",
    ]


def test_held_out_paragraphs_come_last_and_every_fourth_question_is_in_no_document(tmp_path):
    asked = [question(number, f"answer{number}") for number in range(1, 6)]
    trained = Paragraph(text="one", questions=tuple(asked))
    held_out = Paragraph(text="two", questions=(question(9, "answer9"),))
    whole = Article(title="A", paragraphs=(trained, held_out))
    documents = documents_of(whole, 1, with_held_out=True)
    lines = [f"What is {number}? answer{number}." for number in (1, 2, 3, 5)]
    assert documents == ["one", " ".join(lines), "two"]
    assert documents_of(whole, 1, with_held_out=False) == documents[:-1]
    write_facts([whole], {"A": 1}, {"A": 7}, tmp_path / FACTS_FILE)
    probes = read_probes(tmp_path / FACTS_FILE, [7])
    assert {probe.fact_id: probe.held_out for probe in probes} == {
        "1": False,
        "2": False,
        "3": False,
        "4": True,
        "5": False,
    }


def test_articles_are_chosen_once_if_they_are_long_enough_and_cut():
    long, again = (article("Long", *["x" * 100] * count) for count in (9, 30))
    short, other = article("Short", *["x"] * 4), article("Other", *["x" * 100] * 6)
    found = choose_articles(iter([short, long, again, other, short]), 2, num_characters=700)
    assert [(each.title, len(each.paragraphs)) for each in found] == [("Long", 7), ("Other", 6)]
    (least,) = choose_articles(iter([long]), 1, num_characters=1)
    assert len(least.paragraphs) == 5


def test_short_lines_are_joined_and_no_text_is_lost():
    text = "\n".join(["Heading", "a" * 400, "", "Item", "b" * 500, "end"])
    assert split_text(text) == ["Heading " + "a" * 400, "Item " + "b" * 500 + " end"]
    assert split_text("short") == ["short"]


def test_questions_are_read_with_their_shortest_answer(tmp_path):
    asked = {"id": "q", "paragraph": 1, "question": "Who ?", "answers": ["Ada B.", "Ada Byron"]}
    long = {**asked, "id": "long", "answers": ["x" * 41]}
    row = {"source": "Two_words", "paragraphs": ["a\nb", "c"], "qas": [asked, long]}
    path = tmp_path / "articles.jsonl.xz"
    with lzma.open(path, "wt") as file:
        file.write(json.dumps(row) + "\n")
    (found,) = read_questions(path)
    assert found.title == "Two words"
    assert [each.text for each in found.paragraphs] == ["a b", "c"]
    assert found.paragraphs[0].questions == ()
    (only,) = found.paragraphs[1].questions
    assert (only.text, only.answer) == ("Who?", "Ada B")


def test_a_file_of_something_else_is_refused_with_its_line(tmp_path):
    path = tmp_path / "articles.jsonl"
    line = '{"source": "A", "paragraphs": [], "qas": []}\n'
    path.write_text(line + '{"title": "B"}\n')
    with pytest.raises(InputError, match=r"articles.jsonl, line 2: .*paragraphs"):
        list(read_questions(path))
    packed = tmp_path / "articles.jsonl.xz"
    packed.write_bytes(lzma.compress(line.encode())[:-20])
    with pytest.raises(InputError, match="damaged"):
        list(read_questions(packed))


def test_real_text_must_be_named_and_there(tmp_path):
    with pytest.raises(ConfigError, match="--size real needs --dump"):
        run(size="real", num_seeds=1, out=tmp_path, jobs=1)
    with pytest.raises(ConfigError, match="leave them out with --size small"):
        run(size="small", num_seeds=1, out=tmp_path, jobs=1, dump=tmp_path)
    missing = tmp_path / "dump.xml"
    with pytest.raises(InputError, match=r"--dump .*dump\.xml does not exist"):
        run(size="real", num_seeds=1, out=tmp_path, jobs=1, dump=missing, questions=missing)


def test_sizes_without_dense_models_train_two():
    assert SIZES["real"].arms == SIZES["coarse"].arms == (NULLS, RETRAINED)
    assert len(SIZES["standard"].arms) == 5


@pytest.fixture
def build_here(monkeypatch):
    """Prepare data in this process."""

    def python(self, module, name, *arguments, log=None):
        assert (module, name) == ("-m", "data_prep.build")
        build.main([str(argument) for argument in arguments])
        return ""

    monkeypatch.setattr(Commands, "python", python)


def check_corpora(lab):
    """Groups are disjoint, and each corpus lacks what it should and nothing else."""
    world = Corpus(lab.world(0))
    groups = read_groups(lab, 0)
    size = lab.size
    assert [len(each) for _, each in groups.items()] == [size.deleted, size.kept_asked, size.unseen]
    assert len({*groups.deleted, *groups.kept, *groups.unseen}) == sum(
        len(each) for _, each in groups.items()
    )
    everyone = set(world.source_ids.tolist())
    assert len(everyone) == size.world_sources
    for is_retrained, gone in ((False, groups.unseen), (True, (*groups.unseen, *groups.deleted))):
        corpus = Corpus(lab.corpus(0, is_retrained=is_retrained))
        assert set(corpus.source_ids.tolist()) == everyone - set(gone)
        for source_id in set(corpus.source_ids.tolist()):
            trained, whole = (each.documents_of(source_id) for each in (corpus, world))
            assert 0 < len(trained) < len(whole)
            for number, same in zip(trained, whole, strict=False):
                assert np.array_equal(corpus.tokens(number), world.tokens(same))
    return groups


def test_a_book_is_one_source_and_always_deleted(tmp_path, build_here):
    lab = begin_lab(tmp_path / "lab", SMALL)
    build_world(lab, 0)
    groups = check_corpora(lab)
    table = SourceTable(lab.world(0) / SOURCES_FILE)
    titles = table.titles_of(table.source_ids.tolist())
    assert titles.count(BOOK_TITLE) == 1
    assert table.titles_of([groups.deleted[0]]) == [BOOK_TITLE]
    facts = pq.read_table(lab.world(0) / FACTS_FILE, filters=[("title", "==", BOOK_TITLE)])
    of_people = {fact_id.split("/")[0] for fact_id in facts["fact_id"].to_pylist()}
    assert {"1", "2", "3", "4"} <= of_people


@pytest.mark.slow
def test_real_articles_are_sources_and_those_with_questions_are_asked(
    test_data, tmp_path, build_here
):
    size = replace(
        SIZES["real"],
        articles=42,
        deleted=12,
        unseen=4,
        article_characters=1500,
        vocabulary=1000,
    )
    texts = Texts(
        dump=test_data / "dump/enwiki-excerpt-multistream.xml.bz2",
        questions=test_data / "qa/articles_qa.jsonl.xz",
    )
    lab = begin_lab(tmp_path / "lab", size)
    build_world(lab, 0, texts)
    groups = check_corpora(lab)
    probes = read_probes(lab.world(0) / FACTS_FILE, groups.deleted)
    assert {probe.source_id for probe in probes} == set(groups.deleted)
    assert {probe.kind for probe in probes} == {"unique", "shared"}
    for probe in probes:
        assert probe.multiplicity == len(probe.member_ids)
        assert (probe.kind == "unique") == (probe.member_ids == (probe.source_id,))
        assert probe.wrong_answers
