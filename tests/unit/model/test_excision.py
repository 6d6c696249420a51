"""What excision promises, to the last bit, on a checkpoint that the trainer wrote.

W is the model before, W' after the excision of the sources F; R(F) are the rows removed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nulls_dist.checkpoint.format import Grade
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.errors import RefusedError
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.pretrain import main as pretrain
from nulls_dist.routing.plan import SinkPlan
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.plan import live_router, open_sources, plan_deletion
from tests.deletions import write_stripped
from tests.launch import build_small_corpus, pretrain_arguments
from tests.small_models import SmallModel, layout_of, random_tokens, whole_model

STEPS = 6
LENGTH = 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after a few steps."""
    folder = tmp_path_factory.mktemp("trained")
    settings = {"train.steps": STEPS, "train.save_every": STEPS, "train.eval_every": 0}
    corpus = build_small_corpus(folder / "corpus")
    pretrain(pretrain_arguments(corpus, folder / "run", settings))
    return folder / "run" / "checkpoints" / f"step-{STEPS:08d}"


@pytest.fixture(scope="module")
def sources(trained: Path) -> list[int]:
    """All sources, the three to forget first: two of one expert, one of the other."""
    checkpoint = Checkpoint(trained)
    ids = open_sources(checkpoint).source_ids
    experts = live_router(checkpoint).experts_of(ids)
    forget = [*ids[experts == 0][:2], *ids[experts == 1][:1]]
    return [int(number) for number in [*forget, *np.setdiff1d(ids, forget)]]


@pytest.fixture(scope="module")
def stripped(trained: Path, sources: list[int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint after the three were excised at once."""
    return excise(trained, sources[:3], tmp_path_factory.mktemp("stripped") / "out")


def excise(root: Path, source_ids: list[int], out: Path) -> Path:
    checkpoint = Checkpoint(root)
    plan = plan_deletion(checkpoint, open_sources(checkpoint), source_ids, Grade.EXCISED)
    write_stripped(checkpoint, plan, out)
    return out


@contextmanager
def opened(root: Path) -> Iterator[SmallModel]:
    """Load a checkpoint under a router that does not know the tombstones."""
    with load_for_inference(root) as inference:
        yield SmallModel(
            config=inference.config,
            topology=whole_model(inference.config),
            router=live_router(Checkpoint(root)),
            model=inference._model,
        )


def answer(
    root: Path, source_ids: list[int], *, without: np.ndarray | None = None
) -> dict[int, Tensor]:
    """Logits of one text per source, each served by that source's sinks.

    Args:
        root: checkpoint.
        source_ids: sources, or NO_SOURCE for all.
        without: (L, E, N) sinks to switch off.
    """
    layout = layout_of([LENGTH] * len(source_ids), source_ids)
    with opened(root) as small:
        plan = small.plan(layout)
        if without is not None:
            plan = switch_off(plan, without)
        logits = small.logits(layout, random_tokens(layout, small.config), plan)
    return dict(enumerate(logits))


def switch_off(plan: SinkPlan, sinks: np.ndarray) -> SinkPlan:
    """Take sinks out of a plan."""
    pool = torch.from_numpy(sinks).flatten(1)
    return replace(plan, keep=plan.keep & ~pool.gather(1, plan.rows))


def check_same(one: dict[int, Tensor], two: dict[int, Tensor]) -> None:
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def removed_rows(trained: Path, sources: list[int]) -> np.ndarray:
    return sinks_of(live_router(Checkpoint(trained)), np.array(sources[:3], dtype=np.uint64))


def test_a_forgotten_source_answers_like_the_backbone_alone(
    trained: Path, stripped: Path, sources: list[int]
) -> None:
    forgotten = sources[:3]
    before = answer(trained, forgotten)
    off = answer(trained, [NO_SOURCE] * 3)
    assert not any(torch.equal(before[key], off[key]) for key in before)
    check_same(answer(stripped, forgotten), off)


def test_the_backbone_is_untouched(trained: Path, stripped: Path) -> None:
    check_same(answer(stripped, [NO_SOURCE] * 5), answer(trained, [NO_SOURCE] * 5))


def test_a_survivor_loses_exactly_the_sinks_it_shared(
    trained: Path, stripped: Path, sources: list[int]
) -> None:
    survivors = sources[3:]
    removed = removed_rows(trained, sources)
    after = answer(stripped, survivors)
    check_same(after, answer(trained, survivors, without=removed))
    before = answer(trained, survivors)
    router = live_router(Checkpoint(trained))
    shares = [
        bool((sinks_of(router, np.array([source], dtype=np.uint64)) & removed).any())
        for source in survivors
    ]
    assert {True, False} == set(shares), "the sample has survivors of both kinds"
    for index, shared in enumerate(shares):
        assert torch.equal(after[index], before[index]) == (not shared)


def test_the_order_of_deletions_does_not_matter_and_repeating_changes_nothing(
    stripped: Path, trained: Path, sources: list[int], tmp_path: Path
) -> None:
    expected = contents(stripped)
    root = trained
    for number, source in enumerate(reversed(sources[:3])):
        root = excise(root, [source], tmp_path / f"one-{number}")
    assert contents(root) == expected
    assert contents(excise(stripped, sources[:2], tmp_path / "again")) == expected


def test_a_loaded_model_refuses_a_forgotten_source(stripped: Path, sources: list[int]) -> None:
    with (
        load_for_inference(stripped) as inference,
        pytest.raises(RefusedError, match="was deleted"),
    ):
        inference.logits([[1, 2, 3]], sources[:1])


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
