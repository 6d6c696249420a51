"""A checkpoint of any preset with random values, written file by file: for tools at full size."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from nulls_dist import durable
from nulls_dist.checkpoint.format import (
    DATA_FILE,
    MANIFEST_FILE,
    OPTIMIZER_KINDS,
    RUN_FILE,
    SOURCES_FILE,
    CheckpointManifest,
    FragmentKey,
    backbone_optimizer_file,
    backbone_weights_file,
    sink_optimizer_file,
    sink_weights_file,
)
from nulls_dist.checkpoint.shapes import backbone_shapes, sink_shapes
from nulls_dist.checkpoint.store import write_tensors
from nulls_dist.config.schema import RunConfig
from nulls_dist.data.corpus import Corpus
from nulls_dist.durable import new_directory, record_file
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.train.run import router_spec

_STD: Final = 0.02
_STEP: Final = 1


def write_random_checkpoint(
    config: RunConfig, corpus: Corpus, out: Path, *, with_optimizer: bool = True
) -> None:
    """Write a checkpoint after one step, bf16 weights with float32 master weights and moments.

    Args:
        config: the preset.
        corpus: gives sources and tokenizer; its vocabulary may be smaller than the model's.
        out: must not exist. One file's tensors are held in memory at a time.
        with_optimizer: without, as a release carries it, there are no master weights and moments.
    """
    model = config.model
    with new_directory(out) as root:
        files = [SOURCES_FILE, corpus.manifest.tokenizer.file]
        for name in files:
            durable.link_or_copy(corpus.root / name, root / name)
        for name in (RUN_FILE, DATA_FILE):
            durable.write_json(root / name, {"note": "random values, for measuring tools"})
        files += [RUN_FILE, DATA_FILE]
        files += _write_bank(
            root,
            backbone_weights_file(0),
            backbone_optimizer_file,
            backbone_shapes(model),
            seed=0,
            with_optimizer=with_optimizer,
        )
        for expert in range(model.num_experts):
            files += _write_bank(
                root,
                sink_weights_file(expert),
                partial(sink_optimizer_file, expert),
                sink_shapes(model),
                seed=1 + expert,
                with_optimizer=with_optimizer,
            )
        manifest = CheckpointManifest(
            step=_STEP,
            model=config.to_dict()["model"],
            router=router_spec(model, corpus.manifest.router_seed),
            bucket_table=balance_buckets(corpus.tokens_per_bucket(), model.num_experts),
            corpus=corpus.manifest.fingerprint,
            tokenizer=corpus.manifest.to_dict()["tokenizer"],
            tombstones=(),
            files=tuple(record_file(root, name) for name in sorted(files)),
        )
        durable.write_json(root / MANIFEST_FILE, manifest.to_dict())


def _write_bank(
    root: Path,
    weights_file: str,
    optimizer_file: Callable[[int], str],
    shapes: dict[str, tuple[int, ...]],
    *,
    seed: int,
    with_optimizer: bool,
) -> list[str]:
    """Write the weights and the optimizer state of one file's parameters."""
    weights = dict(_random_tensors(shapes, seed))
    write_tensors(root / weights_file, weights)
    if not with_optimizer:
        return [weights_file]
    state = {
        str(FragmentKey(kind=kind, name=name, start=0)): (
            values.float().flatten()
            if kind == OPTIMIZER_KINDS[0]
            else torch.full((values.numel(),), 1e-6)
        )
        for name, values in weights.items()
        for kind in OPTIMIZER_KINDS
    }
    write_tensors(root / optimizer_file(0), state)
    return [weights_file, optimizer_file(0)]


def _random_tensors(shapes: dict[str, tuple[int, ...]], seed: int) -> Iterator[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for name, shape in shapes.items():
        yield name, (torch.randn(shape, generator=generator) * _STD).to(torch.bfloat16)
