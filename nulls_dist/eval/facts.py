"""Cloze facts: does the model complete a sentence with the right answer?

A probe is right when every token of the answer and its full stop is the model's first choice,
given the tokens before it (greedy decoding would write exactly the answer).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.scoring import BATCH_TOKENS, AnsweringModel, Ending, score_endings


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


def read_probes(path: Path, source_ids: Collection[int]) -> list[Probe]:
    """Read the probes of some sources from facts.parquet."""
    wanted = set(source_ids)
    table = pq.read_table(path, columns=list(Probe.__dataclass_fields__))
    return [
        Probe(**{**row, "member_ids": tuple(row["member_ids"])})
        for row in table.to_pylist()
        if row["source_id"] in wanted
    ]


def answer_probes(
    model: AnsweringModel,
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
    endings = []
    for probe in probes:
        # The leading space makes the first word the token it is inside a document.
        text = tokenizer.encode(f" {probe.prompt} {probe.answer}.")
        start = max(1, _common_prefix(text, tokenizer.encode(f" {probe.prompt}")))
        donor = donor_of[probe.source_id]
        endings.append(Ending(tokens=text, num_scored=len(text) - start, source_id=donor))
    scores = score_endings(model, endings, batch_tokens=BATCH_TOKENS, unit="questions")
    return np.array([score.is_greedy for score in scores], dtype=np.bool_)


def _common_prefix(text: Sequence[int], prompt: Sequence[int]) -> int:
    """Return where the answer's tokens begin: the question's end may fuse with them."""
    length = 0
    while length < len(prompt) and text[length] == prompt[length]:
        length += 1
    return length
