"""A dense control takes exactly the batches of the run it is the control of."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest

from nulls_dist.config.presets import CONTROLS, Control, control_of, nulls_tiny
from nulls_dist.config.schema import DispatcherName, ParallelConfig, RunConfig
from nulls_dist.data.batches import Microbatch
from nulls_dist.data.corpus import Corpus
from nulls_dist.parallel.topology import resolve_topology
from nulls_dist.train.run import assemble_run
from tests.launch import build_small_corpus

STEPS = 12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(build_small_corpus(tmp_path_factory.mktemp("corpus") / "corpus"))


def batches_of(config: RunConfig, corpus: Corpus, *, world_size: int) -> list[Microbatch]:
    """Every rank's rows of every step."""
    batches = []
    for rank in range(world_size):
        topology = resolve_topology(config, world_size=world_size, rank=rank)
        groups: Any = SimpleNamespace(topology=topology)
        run = assemble_run(
            config,
            run_dir=Path("nowhere"),
            corpus=corpus,
            groups=groups,
            checkpoint=None,
            allow_new_corpus=False,
        )
        stream = run.batches(seed=3, rows_per_step=config.train.global_batch_rows)
        batches += [stream.assemble(run.rank_rows(stream, step)) for step in range(STEPS)]
    return batches


@pytest.mark.parametrize("dispatcher", get_args(DispatcherName))
@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("kind", CONTROLS)
def test_every_rank_trains_on_the_same_tokens_of_the_same_sources(
    kind: Control, world_size: int, dispatcher: DispatcherName, corpus: Corpus
) -> None:
    config = replace(nulls_tiny(), parallel=ParallelConfig(dispatcher=dispatcher))
    with_sinks = batches_of(config, corpus, world_size=world_size)
    control = batches_of(control_of(config, kind), corpus, world_size=world_size)
    assert len(with_sinks) == STEPS * world_size
    for one, two in zip(with_sinks, control, strict=True):
        assert np.array_equal(one.tokens, two.tokens)
        assert np.array_equal(one.targets, two.targets)
        assert one.layout.lengths == two.layout.lengths
        assert np.array_equal(one.layout.source_ids, two.layout.source_ids)
