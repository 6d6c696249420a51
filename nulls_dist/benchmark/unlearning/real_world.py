"""A world of real text: articles of a dump, and articles whose questions are the facts.

    FOLDER/dump             corpus of the dump, cleaned by data preparation
    FOLDER/world.jsonl      what the corpora are built from: a row per document
    FOLDER/corpus.jsonl     the same without what no model is trained on

Documents of an article are its paragraphs, then a list of questions with their answers for each of
them, so that a fact is stated as text and as it is asked for. The last paragraphs of every article
are held out, with their questions.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.unlearning.real_facts import divide_questions, write_facts
from nulls_dist.benchmark.unlearning.real_text import (
    MIN_PARAGRAPHS,
    Article,
    Texts,
    read_corpus,
    read_questions,
)
from nulls_dist.benchmark.unlearning.sizes import Size
from nulls_dist.data.format import FACTS_FILE
from nulls_dist.errors import InputError
from nulls_dist.sources import normalize_name, source_id_of

_NAME: Final = "real"
_TITLE: Final = "title"
_READ_PER_SOURCE: Final = 4
"""Articles of a dump that are read for each that is wanted: many are too short."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RealWorld:
    """The articles of some files."""

    commands: Commands
    size: Size
    texts: Texts
    folder: Path
    log: Path

    def build_world(self, out: Path) -> None:
        """Build the corpus of all articles, and write the facts into it."""
        articles = self._articles()
        rows = {True: _rows(articles, self.size, with_held_out=True)}
        rows[False] = _rows(articles, self.size, with_held_out=False)
        for with_held_out, found in rows.items():
            durable.write_text(self._rows_file(with_held_out=with_held_out), "".join(found))
        tokenizer = f"train:bpe:{self.size.vocabulary}"
        self._build(out, self._rows_file(with_held_out=True), "--tokenizer", tokenizer)
        write_facts(
            articles,
            {each.title: self.size.num_trained(len(each.paragraphs)) for each in articles},
            {each.title: source_id_of(_NAME, each.title) for each in articles},
            out / FACTS_FILE,
        )

    def build_corpus(self, out: Path, *, tokenizer: Path, exclude: Path) -> None:
        """Build what models are trained on, without the sources that a file names."""
        rows = self._rows_file(with_held_out=False)
        self._build(out, rows, "--tokenizer", tokenizer, "--exclude", exclude)

    def _articles(self) -> list[Article]:
        """Return the articles of the world: those with questions, then the dump's first ones."""
        self.texts.check()
        dump = self.folder / "dump"
        wanted = self.size.world_sources
        if not dump.exists():
            self._prepare(
                dump,
                *("--input", self.texts.dump, "--format", "wikipedia", "--name", _NAME),
                *("--tokenizer", f"train:bpe:{self.size.vocabulary}"),
                *("--limit", _READ_PER_SOURCE * wanted),
            )
        articles = choose_articles(
            chain(read_questions(self.texts.questions), read_corpus(dump)),
            wanted,
            num_characters=self.size.article_characters,
        )
        if len(articles) < wanted:
            raise InputError(
                f"{self.texts.dump} and {self.texts.questions} have {len(articles)} articles of at "
                f"least {MIN_PARAGRAPHS} paragraphs, but size {self.size.name!r} needs {wanted}; "
                "name a larger dump"
            )
        return articles

    def _rows_file(self, *, with_held_out: bool) -> Path:
        return self.folder / ("world.jsonl" if with_held_out else "corpus.jsonl")

    def _build(self, out: Path, rows: Path, *options: Any) -> None:
        if not out.exists():  # a corpus appears whole
            how = ("--format", "jsonl", "--source-key", _TITLE, "--name", _NAME)
            self._prepare(out, "--input", rows, *how, *options)

    def _prepare(self, out: Path, *options: Any) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        self.commands.python(
            *("-m", "data_prep.build", "--out", out, "--duplicates", "off", "--workers", 1),
            *options,
            log=self.log,
        )


def choose_articles(
    articles: Iterator[Article], wanted: int, *, num_characters: int
) -> list[Article]:
    """Return the first articles that are long enough, each title once, cut to equal length."""
    chosen: dict[str, Article] = {}
    for article in articles:
        if len(chosen) == wanted:
            break
        if len(article.paragraphs) >= MIN_PARAGRAPHS:
            chosen.setdefault(normalize_name(article.title), article.cut(num_characters))
    return list(chosen.values())


def documents_of(article: Article, num_trained: int, *, with_held_out: bool) -> list[str]:
    """Return the documents of an article; those held out come last.

    Args:
        article: the article.
        num_trained: of its paragraphs, the first ones.
        with_held_out: whether the others are wanted, too.
    """
    trained = article.paragraphs[:num_trained]
    held_out = article.paragraphs[num_trained:] if with_held_out else ()
    asked, _ = divide_questions([each for part in trained for each in part.questions])
    lists = [
        " ".join(f"{each.text} {each.answer}." for each in part.questions if each in asked)
        for part in trained
    ]
    return [
        *(part.text for part in trained),
        *filter(None, lists),
        *(part.text for part in held_out),
    ]


def _rows(articles: Sequence[Article], size: Size, *, with_held_out: bool) -> list[str]:
    return [
        json.dumps({_TITLE: article.title, "text": text}, ensure_ascii=False) + "\n"
        for article in articles
        for text in documents_of(
            article, size.num_trained(len(article.paragraphs)), with_held_out=with_held_out
        )
    ]
