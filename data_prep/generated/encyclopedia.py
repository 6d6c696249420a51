"""The generated encyclopedia: articles about invented people, and the ground truth of each fact.

Every article is a source. It states three kinds of facts, which unlearning must treat differently:

* unique: a value of this person that no other article states (it must go with its source);
* shared: a value of a town, guild or book that exactly m articles state (it must stay);
* inferable: a value that follows from a rule which other articles teach as well, surname -> region
  or profession -> tool (it may stay, though nobody else says it of this person).

Each fact has five phrasings. Three, drawn per article and fact, occur in the article's documents;
two are held out to ask for the fact in words the model never saw. A document ("rendering") states
every fact once, in a random training phrasing and in random order.

Sources may be coarser than articles (`gathering`): what an article states, its source states.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from data_prep.documents import Document
from data_prep.generated.draws import Draws, Purpose
from data_prep.generated.gathering import Gathering
from data_prep.generated.phrasings import (
    NUM_PHRASINGS,
    PROFESSIONS,
    REGION,
    TOOL,
    UNIQUE_ATTRIBUTES,
)
from data_prep.generated.words import YEARS
from data_prep.generated.world import NUM_WRONG_ANSWERS, World, build_world
from nulls_dist.errors import ConfigError

FactKind = Literal["unique", "shared", "inferable"]

LICENCE = "CC0-1.0"
_NUM_HELD_OUT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class EncyclopediaSpec:
    """What to generate; equal specs give equal documents, byte for byte."""

    articles: int = 300
    """Number of articles, each a source of its own."""
    renderings: int = 8
    """Documents per article; asking for more adds documents and leaves the others as they were."""
    seed: int = 0
    """Everything invented follows from it, from 0 to 2**64 - 1."""
    multiplicities: tuple[int, ...] = (3, 10, 30)
    """Ascending; for each m, an article mentions one entity that exactly m articles mention."""
    num_values: int = 32
    """Possible values of every attribute but region and tool."""
    num_surnames: int = 12
    """Families, each with a region of its own."""
    num_professions: int = 12
    """Professions, each with a tool of its own."""
    articles_per_source: int = 1
    """More than one make a collection, which is one source."""
    book_articles: int = 0
    """Articles that are one source besides, a book."""

    @property
    def gathering(self) -> Gathering:
        """Which articles are one source."""
        return Gathering(
            articles_per_source=self.articles_per_source, book_articles=self.book_articles
        )

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: a field is out of its range.
        """
        num_choices = 1 + NUM_WRONG_ANSWERS
        _check_range("articles", self.articles, 1, (1 << 32) - 1)
        _check_range("renderings", self.renderings, 1, (1 << 32) - 1)
        _check_range("seed", self.seed, 0, (1 << 64) - 1)
        _check_range("num_values", self.num_values, num_choices, len(YEARS))
        _check_range("num_surnames", self.num_surnames, num_choices, (1 << 32) - 1)
        _check_range("num_professions", self.num_professions, num_choices, len(PROFESSIONS))
        _check_range("book_articles", self.book_articles, 0, self.articles)
        _check_range("articles_per_source", self.articles_per_source, 1, self.articles)
        if (self.articles - self.book_articles) % self.articles_per_source:
            raise ConfigError(
                f"encyclopedia.articles ({self.articles}) without the book's "
                f"({self.book_articles}) must be a multiple of encyclopedia.articles_per_source "
                f"({self.articles_per_source})"
            )
        if any(low >= high for low, high in pairwise((1, *self.multiplicities))):
            raise ConfigError(
                f"encyclopedia.multiplicities {self.multiplicities} must be ascending numbers of "
                "at least 2; a fact of one article is a unique fact"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One thing an article states, with everything needed to ask for it."""

    fact_id: str
    """Name of the fact; a shared fact has the same one in every article that states it."""
    kind: FactKind
    attribute: str
    answer: str
    wrong_answers: tuple[str, ...]
    """Other values of the same attribute."""
    members: tuple[str, ...]
    """Source keys of the articles that state it (inferable: that teach its rule), own included."""
    prompts: tuple[str, ...]
    """Per phrasing, the sentence up to its value, without the space between."""
    held_out: tuple[bool, ...]
    """Per phrasing, whether it occurs in none of this article's documents."""

    @property
    def multiplicity(self) -> int:
        """Number of articles that state it (inferable: that teach its rule)."""
        return len(self.members)

    @property
    def training_prompts(self) -> tuple[str, ...]:
        """Prompts of the phrasings that documents are written in."""
        pairs = zip(self.prompts, self.held_out, strict=True)
        return tuple(prompt for prompt, held_out in pairs if not held_out)


@dataclass(frozen=True, kw_only=True, slots=True)
class Article:
    """An invented person and what is stated in their article; a source, unless gathered."""

    source_key: str
    """The article's number, from "1"; once gathered, the key of its source."""
    title: str
    """The person's full name, which no other article has; once gathered, its source's title."""
    facts: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encyclopedia:
    """All articles of a spec."""

    spec: EncyclopediaSpec
    articles: tuple[Article, ...]


def build_encyclopedia(spec: EncyclopediaSpec) -> Encyclopedia:
    """Invent all articles with their facts."""
    return Encyclopedia(spec=spec, articles=tuple(_write_articles(spec)))


def read_documents(spec: EncyclopediaSpec) -> Iterator[Document]:
    """Yield every rendering of every article, holding one article's text at a time."""
    gathering = spec.gathering
    for article in _write_articles(spec):
        number = int(article.source_key)
        for rendering in range(spec.renderings):
            yield replace(
                render_document(article, spec.seed, rendering),
                source_key=gathering.key_of(number),
                title=gathering.title_of(number, article.title),
                doc_index=gathering.doc_index_of(number, rendering),
            )


def gather_facts(encyclopedia: Encyclopedia) -> Iterator[Article]:
    """Yield what every source states, each fact once, under the keys of sources.

    What only one source states, or teaches the rule of, is unique, however many of its articles do.
    """
    gathering = encyclopedia.spec.gathering
    titles: dict[str, str] = {}
    facts: dict[str, dict[str, Fact]] = {}
    for article in encyclopedia.articles:
        number = int(article.source_key)
        key = gathering.key_of(number)
        titles[key] = gathering.title_of(number, article.title)
        stated = facts.setdefault(key, {})
        for fact in article.facts:
            stated[fact.fact_id] = _stated_twice(stated.get(fact.fact_id, fact), fact)
    for key, stated in facts.items():
        found = tuple(_of_sources(fact, gathering) for fact in stated.values())
        yield Article(source_key=key, title=titles[key], facts=found)


def _stated_twice(fact: Fact, again: Fact) -> Fact:
    """Return a fact of two articles of a source: held out is what neither of them uses."""
    pairs = zip(fact.held_out, again.held_out, strict=True)
    return replace(fact, held_out=tuple(first and second for first, second in pairs))


def _of_sources(fact: Fact, gathering: Gathering) -> Fact:
    members = tuple(dict.fromkeys(gathering.key_of(int(number)) for number in fact.members))
    is_alone = len(members) == 1 < len(fact.members)
    return replace(fact, members=members, kind="unique" if is_alone else fact.kind)


def render_document(article: Article, seed: int, rendering: int) -> Document:
    """Return one rendering of an article; it does not depend on how many there are."""
    draws = Draws(seed, Purpose.DOCUMENT, int(article.source_key), rendering)
    sentences = [f"{draws.choice(fact.training_prompts)} {fact.answer}." for fact in article.facts]
    return Document(
        source_key=article.source_key,
        doc_index=rendering,
        title=article.title,
        text=" ".join(draws.shuffled(sentences)),
        licence=LICENCE,
    )


def _check_range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"encyclopedia.{field} ({value}) must be from {low} to {high}")


def _write_articles(spec: EncyclopediaSpec) -> Iterator[Article]:
    source_keys = [str(number) for number in range(1, spec.articles + 1)]
    world = build_world(
        Draws(spec.seed, Purpose.WORLD),
        source_keys,
        multiplicities=spec.multiplicities,
        num_values=spec.num_values,
        num_surnames=spec.num_surnames,
        num_professions=spec.num_professions,
    )
    for key in source_keys:
        draws = Draws(spec.seed, Purpose.ARTICLE, int(key))
        facts = (
            *_unique_facts(draws, world, key),
            *_shared_facts(draws, world, key),
            *_inferable_facts(draws, world, key),
        )
        yield Article(source_key=key, title=world.titles[key], facts=facts)


def _unique_facts(draws: Draws, world: World, key: str) -> Iterator[Fact]:
    for attribute in UNIQUE_ATTRIBUTES:
        answer, *wrong = draws.sample(world.values[attribute.name], 1 + NUM_WRONG_ANSWERS)
        yield Fact(
            fact_id=f"{key}/{attribute.name}",
            kind="unique",
            attribute=attribute.name,
            answer=answer,
            wrong_answers=tuple(wrong),
            members=(key,),
            prompts=attribute.prompts(subject=world.titles[key]),
            held_out=_draw_held_out(draws),
        )


def _shared_facts(draws: Draws, world: World, key: str) -> Iterator[Fact]:
    for entity in world.entities[key]:
        for attribute, choices in zip(entity.kind.attributes, entity.choices, strict=True):
            answer, *wrong = choices
            yield Fact(
                fact_id=f"{entity.name}/{attribute.name}",
                kind="shared",
                attribute=attribute.name,
                answer=answer,
                wrong_answers=tuple(wrong),
                members=entity.members,
                prompts=attribute.prompts(subject=entity.name),
                held_out=_draw_held_out(draws),
            )


def _inferable_facts(draws: Draws, world: World, key: str) -> Iterator[Fact]:
    profession = world.tool_rules[key].cue
    for attribute, rule in ((REGION, world.region_rules[key]), (TOOL, world.tool_rules[key])):
        others = [value for value in world.values[attribute.name] if value != rule.value]
        yield Fact(
            fact_id=f"{key}/{attribute.name}",
            kind="inferable",
            attribute=attribute.name,
            answer=rule.value,
            wrong_answers=draws.sample(others, NUM_WRONG_ANSWERS),
            members=rule.members,
            prompts=attribute.prompts(subject=world.titles[key], profession=profession),
            held_out=_draw_held_out(draws),
        )


def _draw_held_out(draws: Draws) -> tuple[bool, ...]:
    held_out = draws.sample(range(NUM_PHRASINGS), _NUM_HELD_OUT)
    return tuple(phrasing in held_out for phrasing in range(NUM_PHRASINGS))
