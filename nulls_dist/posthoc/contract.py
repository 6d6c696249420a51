"""What is to be forgotten, and what a method may ask to see."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nulls_dist.errors import InputError


class Need(StrEnum):
    """Something that a method must declare before it is given it."""

    FORGET_TEXT = "forget text"
    FORGET_PROMPTS = "forget prompts"
    RETAIN_TEXT = "retain text"
    RETAIN_PROMPTS = "retain prompts"
    GRADIENTS = "gradients"
    REFERENCE_MODEL = "reference model"
    """The model as it was before."""
    SOURCE_IDS = "source ids"


class Split(StrEnum):
    """Whose tokens they are, for the costs."""

    FORGET = "forget"
    RETAIN = "retain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A document, or a prompt with its answer."""

    tokens: tuple[int, ...]
    start: int = 1
    """Place of the first token that counts: 1 for a document, the answer's beginning otherwise."""

    def __post_init__(self) -> None:
        if not 1 <= self.start < len(self.tokens):
            raise InputError(
                f"an example of {len(self.tokens)} tokens cannot count from place {self.start}: "
                "at least one token must stand before the first that counts; give documents of "
                "two tokens or more, and answers of one or more"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to forget and what to keep; a method needs only some of it."""

    forget_text: tuple[Example, ...] = ()
    forget_prompts: tuple[tuple[int, ...], ...] = ()
    """Prompts alone: methods that need no more never see the answers."""
    retain_text: tuple[Example, ...] = ()
    """Of what is to be kept; no example is to be forgotten."""
    retain_prompts: tuple[tuple[int, ...], ...] = ()
    """Prompts whose answers are to be kept, alone."""
    source_ids: tuple[int, ...] = ()
    """Of the sources to forget."""

    def __post_init__(self) -> None:
        if not all((*self.forget_prompts, *self.retain_prompts)):
            raise InputError("a prompt has no token; leave it out, or give what is asked")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be forgotten."""
        return not (self.forget_text or self.forget_prompts or self.source_ids)

    def of(self, need: Need) -> tuple[Any, ...]:
        """Return the part of the request that a need names; nothing where it names no data."""
        parts: dict[Need, tuple[Any, ...]] = {
            Need.FORGET_TEXT: self.forget_text,
            Need.FORGET_PROMPTS: self.forget_prompts,
            Need.RETAIN_TEXT: self.retain_text,
            Need.RETAIN_PROMPTS: self.retain_prompts,
            Need.SOURCE_IDS: self.source_ids,
        }
        return parts.get(need, ())

    def describe(self) -> dict[str, Any]:
        """Return counts and a digest: equal requests, and no others, have equal ones."""
        content = {
            Need.FORGET_TEXT: [[each.start, *each.tokens] for each in self.forget_text],
            Need.FORGET_PROMPTS: self.forget_prompts,
            Need.RETAIN_TEXT: [[each.start, *each.tokens] for each in self.retain_text],
            Need.RETAIN_PROMPTS: self.retain_prompts,
            Need.SOURCE_IDS: self.source_ids,
        }
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return {"sha256": digest, **{need.value: len(part) for need, part in content.items()}}
