"""A forecast for whatever a command line names: corpus, world size and GPU may not be here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nulls_dist.config.deepspeed import settle_deepspeed_file, zero_settings
from nulls_dist.config.schema import VOCAB_OF_CORPUS, RunConfig
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import MANIFEST_FILE, read_manifest
from nulls_dist.errors import ConfigError
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.gpus import GPUS
from nulls_dist.parallel.topology import resolve_topology
from nulls_dist.train.forecast import forecast_run
from nulls_dist.train.job import resolve_dtype
from nulls_dist.train.run import check_vocabulary_divides
from nulls_dist.unlearn.private_list import lay_out_private, weigh_private


def plan_run(
    config: RunConfig,
    *,
    world_size: int,
    corpus: Path | None,
    deepspeed_file: dict[str, Any],
    gpu: str | None,
    local_rank: int = 0,
) -> dict[str, Any]:
    """Return the forecast of a run.

    Args:
        config: the run's configuration.
        world_size: number of ranks, here or not.
        corpus: gives vocabulary and document lengths; may be missing where the configuration names
            a vocabulary size.
        deepspeed_file: content of the DeepSpeed file.
        gpu: what every rank would have, a key of `GPUS`; None plans for this machine.
        local_rank: of this process.

    Raises:
        ConfigError: configuration, world size and DeepSpeed file do not fit each other.
        InputError: something is the corpus's, and that is no corpus.
        UnknownSourceError: a source that shall own sinks alone is not in the corpus.
    """
    accelerator = None if gpu else select_accelerator(local_rank)
    if accelerator:
        config = resolve_dtype(config, accelerator)
    elif config.train.dtype == "auto":
        config = replace(config, train=replace(config.train, dtype="bf16"))
    topology = resolve_topology(config, world_size=world_size, rank=0)
    zero = zero_settings(settle_deepspeed_file(deepspeed_file, config, data_parallel=topology.dp))
    needs_corpus = config.model.vocab_size == VOCAB_OF_CORPUS
    if needs_corpus and corpus is None:
        raise ConfigError(
            f"model.vocab_size ({VOCAB_OF_CORPUS}) is the corpus's: name a corpus, or set it with "
            "--set model.vocab_size=N"
        )
    vocab_size, tokens_per_document = config.model.vocab_size, None
    if corpus and (needs_corpus or (corpus / MANIFEST_FILE).is_file()):
        manifest = read_manifest(corpus)
        vocab_size = manifest.tokenizer.vocab_size
        tokens_per_document = manifest.num_tokens / manifest.num_documents
    check_vocabulary_divides(replace(config.model, vocab_size=vocab_size), topology.tp)
    private = None
    if config.sinks.private_sources:
        if corpus is None:
            raise ConfigError(
                f"sinks.private_sources ({config.sinks.private_sources}) names sources of a "
                "corpus: name the corpus, too"
            )
        blocks = lay_out_private(config.model, Corpus(corpus), config.sinks.private_sources)
        private = weigh_private(config.model, blocks)
    return forecast_run(
        config,
        topology,
        corpus_vocab_size=vocab_size,
        zero=zero,
        on_gpu=accelerator is None or accelerator.device.type == "cuda",
        tokens_per_document=tokens_per_document,
        gpu=GPUS[gpu] if gpu else None,
        private=private,
    )
