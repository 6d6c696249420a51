"""What is true in the invented world before any article is written.

Everybody's name and profession, the rules that surnames and professions imply, and which articles
mention which shared entity. All of it is dealt once, like cards, so that the counts are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data_prep.generated.draws import Draws
from data_prep.generated.phrasings import (
    ENTITY_KINDS,
    PROFESSIONS,
    REGION,
    TOOL,
    UNIQUE_ATTRIBUTES,
    EntityKind,
)
from data_prep.generated.words import Inventor, WordKind

NUM_WRONG_ANSWERS = 5
# Enough for first names to differ between families of a small corpus.
_MIN_FIRST_NAMES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Entity:
    """A town, guild or book that the articles `members` mention, and no others."""

    kind: EntityKind
    name: str
    members: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    """Per attribute of the kind: the answer, then the wrong answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A cue (surname, profession) and the value it implies in all articles `members`."""

    cue: str
    value: str
    members: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """The invented world; articles go by their source keys."""

    values: dict[str, tuple[str, ...]]
    """Attribute's name -> its possible values."""
    titles: dict[str, str]
    region_rules: dict[str, Rule]
    """Source key -> the rule of its family."""
    tool_rules: dict[str, Rule]
    """Source key -> the rule of its profession."""
    entities: dict[str, list[Entity]]
    """Source key -> the entities it mentions, one of each multiplicity where they go round."""


def build_world(
    draws: Draws,
    source_keys: Sequence[str],
    *,
    multiplicities: Sequence[int],
    num_values: int,
    num_surnames: int,
    num_professions: int,
) -> World:
    """Invent names and deal them to the articles."""
    inventor = Inventor(draws)
    entity_attributes = [attribute for kind in ENTITY_KINDS for attribute in kind.attributes]
    values = {
        attribute.name: inventor.invent(attribute.values, num_values)
        for attribute in (*UNIQUE_ATTRIBUTES, *entity_attributes)
    }
    values[REGION.name] = inventor.invent(REGION.values, num_surnames)
    values[TOOL.name] = inventor.invent(TOOL.values, num_professions)
    surnames = inventor.invent(WordKind.SURNAME, num_surnames)
    families = _deal_rules(draws, source_keys, surnames, values[REGION.name])
    trades = _deal_rules(draws, source_keys, PROFESSIONS[:num_professions], values[TOOL.name])
    return World(
        values=values,
        titles=_invent_titles(draws, inventor, families),
        region_rules={key: family for family in families for key in family.members},
        tool_rules={key: trade for trade in trades for key in trade.members},
        entities=_deal_entities(draws, inventor, source_keys, multiplicities, values),
    )


def _deal_rules(
    draws: Draws, source_keys: Sequence[str], cues: Sequence[str], values: Sequence[str]
) -> list[Rule]:
    """Deal every article one rule, and every rule that is used to two articles or more.

    (A single article has to do with a rule of its own.)
    """
    order = draws.shuffled(source_keys)
    num_rules = min(len(cues), max(1, len(order) // 2))
    return [
        Rule(cue=cues[rule], value=values[rule], members=_ascending(order[rule::num_rules]))
        for rule in range(num_rules)
    ]


def _invent_titles(draws: Draws, inventor: Inventor, families: Sequence[Rule]) -> dict[str, str]:
    """Return each article's "First Last"; the members of a family differ in their first names."""
    largest = max(len(family.members) for family in families)
    first_names = inventor.invent(WordKind.FIRST_NAME, max(_MIN_FIRST_NAMES, largest))
    titles: dict[str, str] = {}
    for family in families:
        given = draws.sample(first_names, len(family.members))
        for key, first_name in zip(family.members, given, strict=True):
            titles[key] = f"{first_name} {family.cue}"
    return titles


def _deal_entities(
    draws: Draws,
    inventor: Inventor,
    source_keys: Sequence[str],
    multiplicities: Sequence[int],
    values: dict[str, tuple[str, ...]],
) -> dict[str, list[Entity]]:
    """Deal the entities of every multiplicity; articles that fill no last group get none."""
    mentioned: dict[str, list[Entity]] = {key: [] for key in source_keys}
    for multiplicity in multiplicities:
        order = draws.shuffled(source_keys)
        for group in range(len(order) // multiplicity):
            # Kinds take turns, so that a multiplicity is not confounded with a kind.
            kind = ENTITY_KINDS[group % len(ENTITY_KINDS)]
            (name,) = inventor.invent(kind.names, 1)
            members = order[group * multiplicity : (group + 1) * multiplicity]
            entity = Entity(
                kind=kind,
                name=name,
                members=_ascending(members),
                choices=tuple(
                    draws.sample(values[attribute.name], 1 + NUM_WRONG_ANSWERS)
                    for attribute in kind.attributes
                ),
            )
            for key in members:
                mentioned[key].append(entity)
    return mentioned


def _ascending(source_keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(source_keys, key=int))
