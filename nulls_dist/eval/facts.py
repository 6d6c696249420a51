"""Cloze facts: does the model complete a sentence with the right answer?

A probe is right when every token of the answer and its full stop is the model's first choice,
given the tokens before it (greedy decoding would write exactly the answer).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.errors import InputError
from nulls_dist.eval.token_scores import LanguageModel, Passage, score_passages

_LISTS: Final = ("member_ids", "wrong_answers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One fact of one source in one phrasing."""

    source_id: int
    fact_id: str
    kind: str
    """unique, shared or inferable."""
    attribute: str
    multiplicity: int
    """How many sources state the fact."""
    member_ids: tuple[int, ...]
    """Those sources."""
    held_out: bool
    """Whether the phrasing occurs in none of the source's documents."""
    prompt: str
    answer: str
    wrong_answers: tuple[str, ...] = ()
    """Other values of the attribute, to compare its likelihood with."""


def read_probes(path: Path, source_ids: Collection[int]) -> list[Probe]:
    """Read the probes of some sources from facts.parquet.

    Raises:
        InputError: it is not that file of a generated corpus.
    """
    wanted = set(source_ids)
    names = list(Probe.__dataclass_fields__)
    try:
        table = pq.read_table(path, columns=names)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not readable as Parquet: {error}; build it again") from error
    if missing := sorted(set(names) - set(table.column_names)):
        raise InputError(
            f"{path}: columns {missing} are missing; name facts.parquet of a generated corpus"
        )
    return [
        Probe(**{**row, **{name: tuple(row[name]) for name in _LISTS}})
        for row in table.to_pylist()
        if row["source_id"] in wanted
    ]


def answer_probes(
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    donor_of: Mapping[int, int],
) -> npt.NDArray[np.bool_]:
    """Ask every probe.

    Args:
        model: the model.
        tokenizer: of the model's corpus.
        probes: n probes.
        donor_of: whose sinks serve each source.

    Returns:
        (n,) bool, whether the answer was right.
    """
    passages = []
    for probe in probes:
        text, start = answer_start(tokenizer, probe.prompt, probe.answer)
        donor = donor_of[probe.source_id]
        passages.append(Passage(tokens=text, start=max(1, start), source_id=donor))
    scores = score_passages(model, passages, unit="questions")
    return np.array([score.is_greedy for score in scores], dtype=np.bool_)


def answer_start(tokenizer: Tokenizer, prompt: str, answer: str) -> tuple[list[int], int]:
    """Return the tokens of a whole sentence, and where those of its answer begin."""
    # The leading space makes the first word the token it is inside a document.
    text = tokenizer.encode(f" {prompt} {answer}.")
    return text, _common_prefix(text, tokenizer.encode(f" {prompt}"))


def _common_prefix(text: Sequence[int], prompt: Sequence[int]) -> int:
    """Return where the answer's tokens begin: the question's end may fuse with them."""
    length = 0
    while length < len(prompt) and text[length] == prompt[length]:
        length += 1
    return length
