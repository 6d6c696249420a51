"""A step of two processes equals plain autograd and torch's AdamW, without DeepSpeed.

With sinks and without: a dense control has no expert parameters, so DeepSpeed takes other paths.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint, step_directory
from nulls_dist.config.presets import nulls_tiny
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.batches import GlobalBatches, Microbatch
from nulls_dist.data.corpus import Corpus
from nulls_dist.routing.dropout import draw_dropped
from nulls_dist.routing.router import Router
from tests.checkpoint_contents import read_metrics, read_state
from tests.oracles import reference_losses, sink_masks
from tests.small_models import build_small_model, one_process

pytestmark = pytest.mark.distributed

NUM_PROCESSES = 2
FIRST_LEARNING_RATE = 3e-3
"""The preset's peak: 5 % of 8 steps is one step of warm-up, which ends at the peak."""


def make_batches(corpus_dir: Path, router: Router, model: ModelConfig) -> GlobalBatches:
    corpus = Corpus(corpus_dir)
    return GlobalBatches(
        corpus,
        router.experts_of(corpus.source_ids),
        num_experts=model.num_experts,
        context_length=model.context_length,
        rows_per_step=nulls_tiny().train.global_batch_rows,
        seed=0,
    )


def initial_parameters(model: ModelConfig) -> dict[str, Tensor]:
    """Fresh parameters of seed 0, all experts."""
    with one_process(model) as topology:
        built = build_small_model(model, topology, seed=0).model
        return {name: value.detach().clone() for name, value in built.named_parameters()}


@pytest.fixture(scope="module", params=["two_experts", "dense_two_processes"])
def trained(request: pytest.FixtureRequest) -> Path:
    """Run directory of two processes."""
    run_dir: Path = request.getfixturevalue(request.param)
    return run_dir


@pytest.fixture(scope="module")
def reference(trained: Path, corpus: Path) -> dict[str, object]:
    """The first step of rows that are placed, computed plainly."""
    first = Checkpoint(step_directory(trained, 1))
    model, router = model_of(first), first.manifest.build_router()
    rows = make_batches(corpus, router, model)
    batch = rows.assemble(
        rows.rank_rows(0, experts=range(model.num_experts), replica=0, num_replicas=1)
    )
    return plain_step(model, router, batch)


def plain_step(model: ModelConfig, router: Router, batch: Microbatch) -> dict[str, object]:
    """Compute loss, gradient norm and updated parameters of a first step of these rows."""
    dropped = draw_dropped(batch.layout, probability=model.sink_dropout, seed=0, step=0)
    assert (0 < dropped.sum() < len(dropped)) == model.has_sinks
    parameters = {name: value.requires_grad_() for name, value in initial_parameters(model).items()}
    losses = reference_losses(
        parameters,
        model,
        sink_masks(router, batch.layout, dropped),
        batch.layout,
        torch.from_numpy(batch.tokens),
        torch.from_numpy(batch.targets),
    )
    loss = losses[torch.from_numpy(batch.layout.has_target)].mean()
    loss.backward()
    squares = {
        name: float(value.grad.double().square().sum()) for name, value in parameters.items()
    }
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm=0.5)
    decayed = [
        value
        for name, value in parameters.items()
        if value.dim() == 2 and ".sinks." not in name and "embedding" not in name
    ]
    free = [value for value in parameters.values() if not any(value is one for one in decayed)]
    torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": free, "weight_decay": 0.0}],
        lr=FIRST_LEARNING_RATE,
        betas=(0.9, 0.98),
        eps=1e-6,
    ).step()
    return {
        "loss": loss.item(),
        "norm": norm.item(),
        "squares": squares,
        "targets": batch.num_targets,
        "parameters": {name: value.detach() for name, value in parameters.items()},
    }


def test_ranks_and_microbatches_hold_unequal_numbers_of_targets(
    trained: Path, corpus: Path
) -> None:
    """Otherwise the tests below could not tell a mean of means from the mean."""
    first = Checkpoint(step_directory(trained, 1))
    model = model_of(first)
    batches = make_batches(corpus, first.manifest.build_router(), model)
    size = nulls_tiny().train.micro_batch_rows
    counts = []
    for rank in range(NUM_PROCESSES):
        rows = batches.rank_rows(0, experts=range(rank, rank + 1), replica=0, num_replicas=1)
        counts.append(
            [batches.assemble(rows[at : at + size]).num_targets for at in range(0, len(rows), size)]
        )
    assert np.array(counts).shape == (NUM_PROCESSES, 2)
    assert sum(counts[0]) != sum(counts[1])
    assert any(one != two for one, two in counts)


def test_the_loss_is_the_mean_over_all_targets_of_the_global_batch(
    trained: Path, reference: dict[str, object]
) -> None:
    reported = read_metrics(trained)[0]
    assert reported["train/targets"] == reference["targets"]
    assert reported["train/learning_rate"] == FIRST_LEARNING_RATE
    assert reported["train/loss_nats"] == pytest.approx(reference["loss"], rel=1e-6)


def test_the_gradient_norm_is_that_of_plain_autograd(
    trained: Path, reference: dict[str, object]
) -> None:
    assert read_metrics(trained)[0]["train/grad_norm"] == pytest.approx(reference["norm"], rel=1e-5)


def test_the_norms_of_backbone_and_sinks_are_those_of_plain_autograd(
    trained: Path, reference: dict[str, object]
) -> None:
    squares, reported = reference["squares"], read_metrics(trained)[0]
    for part in ("backbone", "sinks"):
        of_part = [squares[name] for name in squares if (".sinks." in name) == (part == "sinks")]
        expected = math.sqrt(sum(of_part))
        assert reported[f"train/grad_norm_{part}"] == pytest.approx(expected, rel=1e-5)


def test_the_update_is_that_of_clipped_adamw(trained: Path, reference: dict[str, object]) -> None:
    check_update(trained, reference, nulls_tiny().model.num_experts)


def check_update(run_dir: Path, reference: dict[str, object], num_experts: int) -> None:
    """Compare the weights after the first step with a plain step's parameters."""
    state = read_state(step_directory(run_dir, 1))
    for name, expected in reference["parameters"].items():
        if ".sinks." in name:
            parts = [state[f"weight/{name}/{expert}"] for expert in range(num_experts)]
        else:
            parts = [state[f"weight/{name}/None"]]
        difference = torch.cat(parts) - expected.flatten()
        assert float(difference.abs().max()) <= 1e-5, name
