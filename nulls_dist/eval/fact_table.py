"""What a model knows, as a table: kind of fact by state."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nulls_dist.data.corpus import Corpus
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.facts import Probe, answer_probes
from nulls_dist.eval.states import State, donors
from nulls_dist.eval.token_scores import LanguageModel

_KINDS = ("unique", "shared", "inferable", "question")


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Share of right answers."""

    accuracy: float
    num_probes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FactTable:
    """Scores of one model on the facts of some sources."""

    title: str
    scores: Mapping[State, Mapping[str, Score]]
    """State -> kind of fact -> score."""

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of facts in reading order."""
        return list(next(iter(self.scores.values())))

    def mean(self, state: State, *prefixes: str) -> float:
        """Return the share of right answers over all kinds that begin with one of some words."""
        scores = [score for kind, score in self.scores[state].items() if kind.startswith(prefixes)]
        right = sum(score.accuracy * score.num_probes for score in scores)
        return right / sum(score.num_probes for score in scores)


def kind_of(probe: Probe) -> str:
    """Return the row of the table that a probe counts in."""
    if probe.kind == "unique":
        return "unique, held-out phrasing" if probe.held_out else "unique"
    if probe.kind == "shared":
        return f"shared by {probe.multiplicity}"
    return f"inferable: {probe.attribute}" if probe.kind == "inferable" else probe.kind


def measure_facts(
    title: str,
    model: LanguageModel,
    corpus: Corpus | None,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    *,
    states: Collection[State],
    deleted: Collection[int],
) -> FactTable:
    """Ask a model every probe in every state.

    Args:
        title: what the table shows.
        model: the model.
        corpus: what it was trained on; None will do for the states on and off.
        tokenizer: the corpus's.
        probes: n probes.
        states: whose sinks serve.
        deleted: sources that cannot lend their sinks.
    """
    kinds = np.array([kind_of(probe) for probe in probes])
    source_ids = sorted({probe.source_id for probe in probes})
    scores: dict[State, dict[str, Score]] = {}
    for state in states:
        donor_of = donors(state, corpus, source_ids, deleted=deleted)
        right = answer_probes(model, tokenizer, probes, donor_of)
        scores[state] = {
            kind: Score(
                accuracy=float(right[kinds == kind].mean()),
                num_probes=int((kinds == kind).sum()),
            )
            for kind in sorted(set(kinds.tolist()), key=_reading_order)
        }
    return FactTable(title=title, scores=scores)


def _reading_order(kind: str) -> tuple[int, int, str]:
    first = _KINDS.index(kind.split(",")[0].split(":")[0].split(" ")[0])
    number = int(kind.rsplit(" ", 1)[1]) if kind.startswith("shared") else 0
    return first, number, kind


def format_table(table: FactTable) -> str:
    """Return a table for a terminal."""
    states = list(table.scores)
    width = max(len(kind) for kind in table.kinds)
    lines = [table.title, " " * width + "".join(f"{state:>10}" for state in states)]
    for kind in table.kinds:
        cells = "".join(f"{table.scores[state][kind].accuracy:>10.2f}" for state in states)
        lines.append(f"{kind:<{width}}{cells}")
    return "\n".join(lines)
