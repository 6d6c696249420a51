"""The data of a finished run once more: its global batches, from a checkpoint and the corpus."""

from dataclasses import dataclass

from nulls_dist.checkpoint.format import DATA_FILE
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.batches import GlobalBatches, deal_documents
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.exposure import Exposures, IntArray, RowStreams, derive_exposures
from nulls_dist.durable import read_json
from nulls_dist.errors import InputError, IntegrityError


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What a checkpoint was trained on."""

    corpus: Corpus
    batches: RowStreams
    first_data_step: int
    """Steps taken when the corpus's first rows were; those before saw another corpus."""
    last_step: int
    rows_per_step: int
    seed: int

    def exposures(
        self, *, first_step: int, last_step: int, documents: IntArray | None = None
    ) -> Exposures:
        """Return what was trained on in steps (first_step, last_step], of some documents or all."""
        return derive_exposures(
            self.batches,
            first_step=first_step,
            last_step=last_step,
            first_data_step=self.first_data_step,
            documents=documents,
        )


def open_replay(checkpoint: Checkpoint, corpus: Corpus) -> Replay:
    """Fit a checkpoint and the corpus it was trained on to each other.

    Raises:
        InputError: it was trained on another corpus.
        IntegrityError: the checkpoint is damaged.
    """
    manifest = checkpoint.manifest
    if corpus.manifest.fingerprint != manifest.corpus:
        raise InputError(
            f"{corpus.root} is not the build of the corpus that {checkpoint.root} was last trained "
            f"on ({manifest.corpus.get('corpus')}); give that one"
        )
    path = checkpoint.path(DATA_FILE)
    cursor = read_json(path)
    for name in ("first_step", "rows_per_step", "seed", "step"):
        if type(cursor.get(name)) is not int:
            raise IntegrityError(f"{path}: {name} is no whole number")
    owners, num_owners = deal_documents(
        corpus,
        manifest.build_live_router(),
        is_placed=cursor.get("dispatcher", "local") == "local",  # once not written
    )
    return Replay(
        corpus=corpus,
        batches=GlobalBatches(
            corpus,
            owners,
            num_experts=num_owners,
            context_length=model_of(checkpoint).context_length,
            rows_per_step=cursor["rows_per_step"],
            seed=cursor["seed"],
        ),
        first_data_step=cursor["first_step"],
        last_step=cursor["step"],
        rows_per_step=cursor["rows_per_step"],
        seed=cursor["seed"],
    )
