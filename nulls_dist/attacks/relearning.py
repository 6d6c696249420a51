"""Relearning: fine-tune on some text and ask again and again how much of the forgotten is back.

What a model relearns faster than one that never saw the text, it had not forgotten. Plain AdamW in
one process, with fresh moments, without decay, clipping or schedule: decay would move sinks that
nobody trains.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from nulls_dist.attacks.wiping import Wipe, wipe_sinks
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.tokenizer import Tokenizer, load_tokenizer
from nulls_dist.errors import InputError
from nulls_dist.eval.fact_table import Score, measure_facts
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.inference import InferenceModel, load_for_inference
from nulls_dist.eval.recitation import Document
from nulls_dist.eval.states import State
from nulls_dist.export.release import tokenizer_record
from nulls_dist.model.gpt import is_sink
from nulls_dist.sources import NO_SOURCE


class Access(StrEnum):
    """Which neurons the attacker trains, and asks."""

    BACKBONE = "backbone"
    """Sinks stay off and as they are: all that someone without the router can do."""
    OWN_SINKS = "own sinks"
    """The sinks of each document's source are on and trained with the backbone, also if the source
    was deleted: anyone who knows the router's hash can do so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelearningOptions:
    """How the attack is made."""

    access: Access
    steps: int = 60
    """0 asks only."""
    ask_every: int = 3
    """Steps between two rounds of questions; there is one before the first step and one after the
    last."""
    documents_per_step: int = 5
    learning_rate: float = 1e-3
    seed: int = 0
    """Of the order of the documents."""
    wipe: Wipe | None = None
    """Sinks that are wiped before the first step; None takes the weights as they are."""

    def __post_init__(self) -> None:
        assert self.steps >= 0, "0 steps only ask"
        assert min(self.ask_every, self.documents_per_step) >= 1, "steps ask and read something"

    @property
    def asked_steps(self) -> tuple[int, ...]:
        """Return after which steps the probes are asked, ascending, from 0."""
        return tuple(sorted({*range(0, self.steps, self.ask_every), self.steps}))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class RelearningCurve:
    """How answers come back during an attack."""

    options: RelearningOptions
    num_documents: int
    num_probes: Mapping[str, int]
    """Kind of fact -> probes."""
    steps: tuple[int, ...]
    """When the probes were asked, ascending, from 0."""
    accuracy: Mapping[str, tuple[float, ...]]
    """Kind of fact -> share of right answers at each of these steps."""
    loss_nats: tuple[float, ...]
    """Loss per target of each step's documents before the step; one entry per step."""

    @property
    def start(self) -> dict[str, float]:
        """Return the share of right answers before the first step, by kind of fact."""
        return {kind: values[0] for kind, values in self.accuracy.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


def relearn(
    checkpoint: Path,
    documents: Sequence[Document],
    probes: Sequence[Probe],
    options: RelearningOptions,
) -> RelearningCurve:
    """Attack a checkpoint in memory; nothing is written.

    Tombstones are ignored, as an attacker ignores them: a suppressed source answers at step 0.

    Args:
        checkpoint: its directory; of a model with sinks or without.
        documents: what to train on, cut to the model's context (`recitation.read_documents`).
        probes: what to ask.
        options: how.

    Raises:
        InputError: `checkpoint` is not a checkpoint, there is no document, or sinks are to be
            wiped in a model without any.
        IntegrityError: it is damaged.
    """
    opened = Checkpoint(checkpoint)
    tokenizer = load_tokenizer(checkpoint, tokenizer_record(opened))
    with load_for_inference(checkpoint, route_deleted=True) as model:
        if options.wipe is not None:
            wipe_sinks(model, opened, options.wipe)
        return relearn_model(model, tokenizer, documents, probes, options)


def relearn_model(
    model: InferenceModel,
    tokenizer: Tokenizer,
    documents: Sequence[Document],
    probes: Sequence[Probe],
    options: RelearningOptions,
) -> RelearningCurve:
    """Attack a loaded model, whose weights change; nothing is wiped here.

    Args:
        model: loaded with `route_deleted`.
        tokenizer: of its corpus.
        documents: what to train on.
        probes: what to ask.
        options: how.

    Raises:
        InputError: there is no document.
    """
    if not documents:
        raise InputError("relearning without documents; choose sources that have some")
    answers = [_ask(model, tokenizer, probes, options.access)]
    losses = []
    optimizer = torch.optim.AdamW(
        _trained(model, options.access), lr=options.learning_rate, weight_decay=0.0
    )
    batches = _document_batches(len(documents), options.documents_per_step, options.seed)
    steps = range(1, options.steps + 1)
    for step in tqdm(steps, f"relearn, {options.access}", disable=None, leave=False):
        batch = [documents[number] for number in next(batches)]
        losses.append(_step(model, optimizer, batch, options.access))
        if step in options.asked_steps:
            answers.append(_ask(model, tokenizer, probes, options.access))
    return RelearningCurve(
        options=options,
        num_documents=len(documents),
        num_probes={kind: score.num_probes for kind, score in answers[0].items()},
        steps=options.asked_steps,
        accuracy={kind: tuple(scores[kind].accuracy for scores in answers) for kind in answers[0]},
        loss_nats=tuple(losses),
    )


def _ask(
    model: InferenceModel, tokenizer: Tokenizer, probes: Sequence[Probe], access: Access
) -> Mapping[str, Score]:
    """Return the share of right answers by kind of fact."""
    state = State.OFF if access is Access.BACKBONE else State.ON
    table = measure_facts("relearning", model, None, tokenizer, probes, states=[state], deleted=())
    return table.scores[state]


def _step(
    model: InferenceModel,
    optimizer: torch.optim.Optimizer,
    documents: Sequence[Document],
    access: Access,
) -> float:
    """Train on some documents, packed side by side; return the loss before."""
    is_off = access is Access.BACKBONE
    loss = model.loss(
        [document.tokens for document in documents],
        [NO_SOURCE if is_off else document.source_id for document in documents],
    )
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def _trained(model: InferenceModel, access: Access) -> list[nn.Parameter]:
    """Return the parameters that take part; the others get no gradient."""
    for name, weight in model.weights().items():
        weight.requires_grad_(access is Access.OWN_SINKS or not is_sink(name))
    return [weight for weight in model.weights().values() if weight.requires_grad]


def _document_batches(num_documents: int, per_step: int, seed: int) -> Iterator[list[int]]:
    """Yield the documents of each step: all in an order drawn anew in every epoch, end to end."""
    draws = np.random.default_rng(seed)
    endless = (number for _ in count() for number in draws.permutation(num_documents).tolist())
    while True:
        yield list(islice(endless, per_step))
