"""A run before its first step: configuration, corpus, router and groups that fit each other."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from nulls_dist.checkpoint.format import DATA_FILE, SOURCES_FILE, Tombstone
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.schema import VOCAB_OF_CORPUS, ModelConfig, RunConfig
from nulls_dist.data.batches import GlobalBatches, deal_documents
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import fingerprint_sha256
from nulls_dist.data.source_table import SourceTable, merge_sources
from nulls_dist.data.stream import Piece
from nulls_dist.durable import read_json
from nulls_dist.errors import ConfigError
from nulls_dist.parallel.groups import Groups
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.routing.router import Router, RouterSpec
from nulls_dist.unlearn.plan import open_sources
from nulls_dist.unlearn.private_list import check_same_private, read_private_sources
from nulls_dist.unlearn.tombstones import DeletedSources


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that stays the same while a run trains."""

    config: RunConfig
    """The vocabulary size is resolved."""
    run_dir: Path
    corpus: Corpus
    router: Router
    tombstones: tuple[Tombstone, ...]
    groups: Groups
    first_step: int
    """Step of the checkpoint the run continues from, 0 for a new run."""
    first_data_step: int
    """Step at which the corpus's first rows were taken: 0, unless the corpus was changed."""
    source_table: pa.Table | None = None
    """Every source the model was trained on; None where the corpus's table has them all, and on
    ranks other than 0, which write no table."""

    @property
    def is_placed(self) -> bool:
        """Say whether documents are trained on the ranks of their sinks."""
        return self.config.parallel.dispatcher == "local"

    def batches(self, *, seed: int, rows_per_step: int) -> GlobalBatches:
        """Return the global batches of this corpus in the order of a seed.

        Documents that are not placed are dealt as if one expert owned them all.
        """
        owners, num_owners = deal_documents(self.corpus, self.router, is_placed=self.is_placed)
        return GlobalBatches(
            self.corpus,
            owners,
            num_experts=num_owners,
            context_length=self.config.model.context_length,
            rows_per_step=rows_per_step,
            seed=seed,
        )

    def rank_rows(self, batches: GlobalBatches, step: int) -> list[list[Piece]]:
        """Return the rows of a step, from 0, that this rank takes."""
        topology = self.groups.topology
        if not self.is_placed:
            return batches.rank_rows(
                step, experts=range(1), replica=topology.dp_rank, num_replicas=topology.dp
            )
        return batches.rank_rows(
            step,
            experts=topology.local_experts,
            replica=topology.edp_rank,
            num_replicas=topology.edp,
        )


def assemble_run(
    config: RunConfig,
    *,
    run_dir: Path,
    corpus: Corpus,
    groups: Groups,
    checkpoint: Checkpoint | None,
    allow_new_corpus: bool,
) -> Run:
    """Fit configuration, corpus and, when resuming, checkpoint to each other.

    Args:
        config: as configured.
        run_dir: directory of the run.
        corpus: what to train on.
        groups: the ranks.
        checkpoint: what to continue from, if anything.
        allow_new_corpus: whether the corpus may be another build than the checkpoint's; its data
            then start from the beginning.

    Raises:
        ConfigError: they do not fit.
        IntegrityError: the checkpoint is damaged.
        UnknownSourceError: a source that shall own sinks alone is not there.
        RefusedError: the corpus holds a source that was deleted from the checkpoint, or one of the
            same name or with the same text.
    """
    model = resolve_model(config.model, corpus)
    check_vocabulary_divides(model, groups.topology.tp)
    config = replace(config, model=model)
    if checkpoint is None:
        table = balance_buckets(corpus.tokens_per_bucket(), model.num_experts)
        private = read_private_sources(config.sinks.private_sources, corpus)
        return Run(
            config=config,
            run_dir=run_dir,
            corpus=corpus,
            router=Router(
                router_spec(model, corpus.manifest.router_seed),
                table,
                private_sources=private.tolist(),
            ),
            tombstones=(),
            groups=groups,
            first_step=0,
            first_data_step=0,
        )
    manifest = checkpoint.manifest
    check_same_model(model, model_of(checkpoint), checkpoint.root)
    check_same_private(config.sinks.private_sources, checkpoint)
    if manifest.tombstones:
        DeletedSources(manifest.tombstones, open_sources(checkpoint)).refuse(corpus)
    return Run(
        config=config,
        run_dir=run_dir,
        corpus=corpus,
        router=manifest.build_router(),
        tombstones=manifest.tombstones,
        groups=groups,
        first_step=manifest.step,
        first_data_step=_first_data_step(config, corpus, checkpoint, allow_new_corpus),
        source_table=_merged_sources(corpus, checkpoint) if groups.topology.rank == 0 else None,
    )


def resolve_model(model: ModelConfig, corpus: Corpus) -> ModelConfig:
    """Return the model with the corpus's vocabulary.

    Raises:
        ConfigError: the preset's vocabulary is smaller than the tokenizer's, or its router is not
            for training.
    """
    if model.router != "stratified":
        raise ConfigError(
            f"model.router ({model.router}) is for loading released weights; train with stratified"
        )
    vocab_size = corpus.manifest.tokenizer.vocab_size
    if model.vocab_size == VOCAB_OF_CORPUS:
        return replace(model, vocab_size=vocab_size)
    if model.vocab_size < vocab_size:
        raise ConfigError(
            f"model.vocab_size ({model.vocab_size}) is smaller than the corpus's tokenizer "
            f"({vocab_size}); set it to {VOCAB_OF_CORPUS} to take the corpus's"
        )
    return model


def check_vocabulary_divides(model: ModelConfig, tp: int) -> None:
    """Refuse a vocabulary that tensor parallelism cannot cut in equal parts.

    Raises:
        ConfigError: it cannot.
    """
    if model.vocab_size % tp:
        padded = -(-model.vocab_size // tp) * tp
        raise ConfigError(
            f"parallel.tp ({tp}) must divide the vocabulary ({model.vocab_size}); begin the run "
            f"with model.vocab_size={padded}, whose last rows stay unused"
        )


def router_spec(model: ModelConfig, router_seed: int) -> RouterSpec:
    """Return the router of a model on a corpus with that router seed."""
    return RouterSpec(
        seed=router_seed,
        num_layers=len(model.sink_layers),
        num_experts=model.num_experts,
        num_sinks=model.num_sinks,
        num_active=model.num_active,
        per_layer=model.per_layer,
    )


def check_same_model(wanted: ModelConfig, saved: ModelConfig, where: Path) -> None:
    """Refuse to continue a model as another one; sink dropout may change.

    Raises:
        ConfigError: a field differs.
    """
    for name in ModelConfig.__dataclass_fields__:
        if name != "sink_dropout" and getattr(wanted, name) != getattr(saved, name):
            raise ConfigError(
                f"model.{name} ({getattr(wanted, name)}) differs from the checkpoint {where} "
                f"({getattr(saved, name)}); resume with the same preset, --control and overrides"
            )


def _merged_sources(corpus: Corpus, checkpoint: Checkpoint) -> pa.Table | None:
    """Return the sources of checkpoint and corpus; None where the corpus has them all.

    Whoever deletes must find each source that was ever trained on, deleted ones included: to
    excise what was suppressed, or to see that nothing is left to do.
    """
    return merge_sources(
        SourceTable(corpus.root / SOURCES_FILE), SourceTable(checkpoint.path(SOURCES_FILE))
    )


def _first_data_step(
    config: RunConfig, corpus: Corpus, checkpoint: Checkpoint, allow_new_corpus: bool
) -> int:
    manifest = checkpoint.manifest
    fingerprint = corpus.manifest.fingerprint
    if fingerprint == manifest.corpus:
        data = {"dispatcher": "local"} | read_json(checkpoint.path(DATA_FILE))  # once not written
        for name, key, value in (
            ("parallel.dispatcher", "dispatcher", config.parallel.dispatcher),
            ("train.global_batch_rows", "rows_per_step", config.train.global_batch_rows),
            ("--seed", "seed", config.seed),
        ):
            if data[key] != value:
                raise ConfigError(
                    f"{name} ({value}) differs from the checkpoint's ({data[key]}): the order of "
                    "the data would change; resume with the same value"
                )
        return int(data["first_step"])
    for key in ("corpus", "router_seed", "router_version", "tokenizer_sha256"):
        if fingerprint[key] != manifest.corpus[key]:
            raise ConfigError(
                f"--data {corpus.root}: {key} ({fingerprint[key]}) differs from the checkpoint's "
                f"({manifest.corpus[key]}); source ids and sinks would not agree"
            )
    if not allow_new_corpus:
        raise ConfigError(
            f"--data {corpus.root} (fingerprint {corpus.fingerprint}) is another build than the "
            f"one this run started on ({fingerprint_sha256(manifest.corpus)}); give the same "
            "corpus, or continue with --resume CKPT in a new run directory"
        )
    return manifest.step
