"""Questions about real articles as facts: which go with their article, and which others state.

A fact counts as shared where another article's text has its answer's words, whatever it says about
them: so a unique fact is one whose answer nobody else as much as mentions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from nulls_dist.benchmark.unlearning.real_text import Article, Question
from nulls_dist.durable import replaced_file

NUM_WRONG_ANSWERS: Final = 5
_HELD_OUT_EVERY: Final = 4
_SCHEMA: Final = pa.schema(
    [
        ("source_id", pa.uint64()),
        ("fact_id", pa.string()),
        ("kind", pa.string()),
        ("attribute", pa.string()),
        ("multiplicity", pa.int32()),
        ("member_ids", pa.list_(pa.uint64())),
        ("phrasing", pa.int8()),
        ("held_out", pa.bool_()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("wrong_answers", pa.list_(pa.string())),
    ]
)


def divide_questions(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Return the questions that documents ask and answer, and every fourth, which none does.

    The held-out ones show whether a model can answer what it only read the text about.
    """
    asked = [each for place, each in enumerate(questions, start=1) if place % _HELD_OUT_EVERY]
    return asked, list(questions[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY])


def write_facts(
    articles: Sequence[Article], num_trained: Mapping[str, int], ids: Mapping[str, int], path: Path
) -> None:
    """Write the facts of articles as Parquet, as `nulls_dist.eval.facts` reads them.

    Args:
        articles: of the world; titles differ.
        num_trained: title -> how many of its paragraphs, the first ones, models are trained on;
            only those are asked about.
        ids: title -> id of the source.
        path: the file to write, atomically.
    """
    rows = list(_rows(articles, num_trained, ids))
    with replaced_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), temporary)


def _rows(
    articles: Sequence[Article], num_trained: Mapping[str, int], ids: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    stated = {
        ids[article.title]: words(" ".join(each.text for each in article.paragraphs))
        for article in articles
    }
    known = {
        article.title: questions_of(article, num_trained[article.title]) for article in articles
    }
    answers = {
        answer: words(answer)
        for answer in sorted({each.answer for questions in known.values() for each in questions})
    }
    for title, questions in known.items():
        _, held_out = divide_questions(questions)
        for question in questions:
            members = {ids[title], *members_of(question.answer, stated)}
            yield {
                "source_id": ids[title],
                "fact_id": question.fact_id,
                "kind": "unique" if len(members) == 1 else "shared",
                "attribute": shape_of(question.answer),
                "multiplicity": len(members),
                "member_ids": sorted(members),
                "phrasing": 0,
                "held_out": question in held_out,
                "prompt": question.text,
                "answer": question.answer,
                "wrong_answers": wrong_answers(question.answer, answers),
            }


def questions_of(article: Article, num_paragraphs: int) -> list[Question]:
    """Return the questions about the first paragraphs of an article, in order."""
    return [each for part in article.paragraphs[:num_paragraphs] for each in part.questions]


def words(text: str) -> str:
    """Return a text's words in lower case between single spaces, also at both ends."""
    found = re.findall(r"\w+", text.casefold())
    return f" {' '.join(found)} "


def members_of(answer: str, stated: Mapping[int, str]) -> list[int]:
    """Return the sources whose text has all words of an answer in a row.

    Args:
        answer: as a question has it.
        stated: source -> its text, as `words` returns it.
    """
    wanted = words(answer)
    return [source_id for source_id, text in stated.items() if wanted in text]


def shape_of(answer: str) -> str:
    """Return what an answer looks like: "number", "name" (a capital first) or "words"."""
    if any(letter.isdigit() for letter in answer):
        return "number"
    return "name" if answer[0].isupper() else "words"


def wrong_answers(answer: str, answers: Mapping[str, str]) -> list[str]:
    """Return answers to other questions that look like this one, the nearest in length.

    Args:
        answer: the right one.
        answers: those of all questions -> their `words`.
    """
    right, shape = answers[answer], shape_of(answer)
    others = [each for each, of in answers.items() if right not in of and of not in right]
    others.sort(key=lambda each: (shape_of(each) != shape, abs(len(each) - len(answer))))
    return others[:NUM_WRONG_ANSWERS]
