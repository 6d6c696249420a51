"""Which source's sinks serve a text that someone types: a named one's, the nearest, or none."""

from dataclasses import dataclass
from pathlib import Path

from nulls_dist.checkpoint.shapes import check_has_sinks, model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.errors import ConfigError, RefusedError
from nulls_dist.eval.states import State
from nulls_dist.retrieval.checkpoint_index import open_index
from nulls_dist.retrieval.encoder import Encoder
from nulls_dist.retrieval.prompt_index import Candidate
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.plan import open_sources
from nulls_dist.unlearn.resolve import find_sources


@dataclass(frozen=True, kw_only=True, slots=True)
class Activation:
    """Whose sinks serve a text, and why."""

    state: State
    source_id: int = NO_SOURCE
    """NO_SOURCE: the backbone alone."""
    title: str = ""
    how: str = "the backbone alone"
    """In words."""
    score: float | None = None
    """Of the nearest source, from 0 to 1."""
    candidates: tuple[Candidate, ...] = ()
    """Sources near the text, the nearest first, where one was looked for."""


def choose_state(checkpoint: Checkpoint, source: str | None, state: State | None) -> State:
    """Return the state asked for, or the one that goes without saying.

    Raises:
        ConfigError: the state does not go with a named source, or with none.
        InputError: sinks are asked for, but the model has none.
    """
    if state is None:
        if source is not None:
            state = State.ON
        else:
            state = State.NEAREST if model_of(checkpoint).has_sinks else State.OFF
    if (state is State.ON) != (source is not None):
        raise ConfigError(
            f"state {state} with{'' if source else 'out'} a source: 'on' needs one to be named, "
            "'nearest' finds it by the prompt, 'off' uses none"
        )
    if state is not State.OFF:
        check_has_sinks(checkpoint)
    return state


def name_source(checkpoint: Checkpoint, name: str) -> Activation:
    """Activate a source by name.

    Args:
        checkpoint: knows the sources.
        name: as a line of sources.txt.

    Raises:
        IntegrityError: the checkpoint is damaged.
        RefusedError: the source was deleted.
        UnknownSourceError: the name is not that of one source.
    """
    (found,) = find_sources(open_sources(checkpoint), [name])
    assert found.source_id is not None
    for entry in checkpoint.manifest.tombstones:
        if entry.source_id == found.source_id:
            raise RefusedError(
                f"source {found.title!r} (id:{found.source_id}) was deleted from this model "
                f"({entry.grade}) and is never activated; ask with another source, with the "
                "nearest surviving one (no source named), or with the backbone alone (state off)"
            )
    return Activation(
        state=State.ON,
        source_id=found.source_id,
        title=found.title,
        how=f"named by its {found.matched_by}",
    )


def nearest_source(
    checkpoint: Checkpoint, prompt: str, *, index: Path | None, encoder: Encoder, limit: int
) -> Activation:
    """Activate the surviving source nearest to a prompt; none where none is near.

    Args:
        checkpoint: knows the sources and what was deleted.
        prompt: the text.
        index: directory of the prompt index, built if it is missing; None: a temporary one.
        encoder: of titles and prompt.
        limit: candidates to return.

    Raises:
        InputError: the index does not fit.
        IntegrityError: index or checkpoint are damaged.
    """
    with open_index(checkpoint, index, encoder) as opened:
        candidates = tuple(opened.search(prompt, limit))
    if not candidates:
        return Activation(state=State.NEAREST, how="the backbone alone: no source is near")
    best = candidates[0]
    return Activation(
        state=State.NEAREST,
        source_id=best.source_id,
        title=best.title,
        how=f"nearest by {best.stage} {best.name!r}",
        score=best.score,
        candidates=candidates,
    )
