"""Real articles: a Wikipedia dump, and articles that come with questions.

Questions are JSON Lines, plain or packed with xz, an article each:

    {"source": "Alan_Turing", "paragraphs": ["..."],
     "qas": [{"id": "...", "paragraph": 0, "question": "...?", "answers": ["...", ...]}]}

as SQuAD's articles are: `answers` are spans of the paragraph of that number.
"""

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import SOURCES_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.errors import InputError

MIN_PARAGRAPHS: Final = 5
"""Of an article: models are trained on some, and some are held out."""
_MIN_CHARACTERS: Final = 300
"""Of a paragraph; shorter lines (headings, items) are joined with the next."""
_MAX_ANSWER: Final = 40
"""Characters; longer ones are hardly ever written exactly, by any model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """The files that a world of real text is made of."""

    dump: Path
    """A Wikipedia dump."""
    questions: Path
    """Articles with questions."""

    def check(self) -> None:
        """Refuse files that are missing.

        Raises:
            InputError: one is.
        """
        for option, path in (("--dump", self.dump), ("--questions", self.questions)):
            if not path.is_file():
                raise InputError(
                    f"{option} {path} does not exist; the size real needs a Wikipedia dump and "
                    "articles with questions (docs/unlearning_metrics.md says in which format)"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question that a paragraph answers."""

    fact_id: str
    text: str
    """With its question mark."""
    answer: str
    """The shortest that is accepted, without a full stop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """A document, and what is asked about it."""

    text: str
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Article:
    """A source."""

    title: str
    paragraphs: tuple[Paragraph, ...]

    def cut(self, num_characters: int) -> "Article":
        """Return the article without the paragraphs that begin after so many characters."""
        begins, end = 0, 0
        while end < len(self.paragraphs) and begins < num_characters:
            begins += len(self.paragraphs[end].text)
            end += 1
        return replace(self, paragraphs=self.paragraphs[: max(end, MIN_PARAGRAPHS)])


def read_questions(path: Path) -> Iterator[Article]:
    """Read the articles with questions.

    Raises:
        InputError: a line is no such article, or the file is damaged.
    """
    open_file = lzma.open if path.suffix == ".xz" else open
    try:
        with open_file(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield _article(line, f"{path}, line {number}")
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged: {error}; is it complete?") from error


def read_corpus(root: Path) -> Iterator[Article]:
    """Read the articles of a corpus of text, in its order, cut into paragraphs.

    Args:
        root: a corpus whose sources are articles, as data preparation cleaned them.
    """
    corpus = Corpus(root)
    tokenizer = load_tokenizer(root, corpus.manifest.tokenizer)
    eos_id = corpus.manifest.tokenizer.eos_id
    source_ids = [int(source_id) for source_id in corpus.source_ids]
    titles = SourceTable(root / SOURCES_FILE).titles_of(source_ids)
    for number, title in enumerate(titles):
        tokens = corpus.tokens(number).tolist()
        text = tokenizer.decode(tokens[:-1] if tokens[-1] == eos_id else tokens)
        yield Article(
            title=title, paragraphs=tuple(Paragraph(text=each) for each in split_text(text))
        )


def split_text(text: str) -> list[str]:
    """Cut a text at its line ends into paragraphs of a sentence or more."""
    paragraphs = [""]
    for line in text.splitlines():
        if len(paragraphs[-1]) >= _MIN_CHARACTERS:
            paragraphs.append("")
        paragraphs[-1] = f"{paragraphs[-1]} {line.strip()}".strip()
    if len(paragraphs) > 1 and len(paragraphs[-1]) < _MIN_CHARACTERS:
        last = paragraphs.pop()
        paragraphs[-1] = f"{paragraphs[-1]} {last}".strip()
    return paragraphs


def _article(line: str, place: str) -> Article:
    try:
        content: dict[str, Any] = json.loads(line)
        texts, asked = content["paragraphs"], content["qas"]
        return Article(
            title=str(content["source"]).replace("_", " "),
            paragraphs=tuple(
                Paragraph(
                    text=" ".join(text.split()),
                    questions=tuple(_questions(asked, number)),
                )
                for number, text in enumerate(texts)
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{place}: no article with questions ({type(error).__name__}: {error}); each line "
            'must be {"source": ..., "paragraphs": [...], "qas": [...]}'
        ) from error


def _questions(asked: list[dict[str, Any]], paragraph: int) -> Iterator[Question]:
    for each in asked:
        if each["paragraph"] != paragraph:
            continue
        answer = min(each["answers"], key=lambda text: (len(text), text)).strip().rstrip(".")
        if answer and len(answer) <= _MAX_ANSWER:
            text = " ".join(each["question"].split()).rstrip(" ?")
            yield Question(fact_id=str(each["id"]), text=f"{text}?", answer=answer)
