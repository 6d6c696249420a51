"""The model equals a plain reference; documents are apart from each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from nulls_dist.config.presets import CONTROLS, Control
from nulls_dist.parallel.topology import Topology
from nulls_dist.segments import SegmentLayout
from tests.oracles import reference_losses, sink_masks
from tests.small_models import (
    SmallModel,
    build_small_model,
    layout_of,
    random_lengths,
    random_tokens,
    relative_error,
    small_config,
    small_control,
    targets_of,
)

TOLERANCE = 1e-5
LAYOUT = layout_of([5, 11, 1, 16, 7, 24], [101, 7, 101, 55, 900, 55])
DROPPED = np.array([0, 0, 0, 1, 0, 0], dtype=bool)


def mean_loss(losses: Tensor, layout: SegmentLayout) -> Tensor:
    return losses.sum() / int(layout.has_target.sum())


def check_against_reference(
    small: SmallModel, layout: SegmentLayout, dropped: np.ndarray | None, tolerance: float
) -> None:
    tokens = random_tokens(layout, small.config)
    losses = small.losses(layout, tokens, dropped)
    mean_loss(small.loss_sum(layout, tokens, dropped), layout).backward()
    gradients = small.gradients()
    expected = reference_losses(
        dict(small.model.named_parameters()),
        small.config,
        sink_masks(small.router, layout, dropped),
        layout,
        tokens,
        targets_of(tokens, layout),
    ) * torch.from_numpy(layout.has_target)
    mean_loss(expected, layout).backward()
    assert relative_error(losses, expected) <= tolerance
    for name, gradient in small.gradients().items():
        assert relative_error(gradients[name], gradient) <= tolerance, name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_losses_and_gradients_equal_a_plain_reference(
    topology: Topology, tied: bool, num_kv_heads: int
) -> None:
    config = small_config(tied_embeddings=tied, num_kv_heads=num_kv_heads)
    check_against_reference(build_small_model(config, topology), LAYOUT, DROPPED, TOLERANCE)


def test_same_sinks_in_every_layer_equal_the_reference_too(topology: Topology) -> None:
    config = small_config(per_layer=False)
    small = build_small_model(config, topology)
    rows = small.plan(LAYOUT).rows
    assert torch.equal(rows[0], rows[1])
    check_against_reference(small, LAYOUT, None, TOLERANCE)


def test_layers_without_sinks_below_those_with_equal_the_reference_too(topology: Topology) -> None:
    small = build_small_model(small_config(num_layers=3, first_sink_layer=2), topology)
    layers = {name.split(".")[2] for name, _ in small.model.named_parameters() if "sink" in name}
    assert layers == {"2"}
    check_against_reference(small, LAYOUT, DROPPED, TOLERANCE)


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_dense_control_equals_a_plain_transformer(topology: Topology, kind: Control) -> None:
    small = build_small_model(small_control(kind), topology)
    assert not [name for name, _ in small.model.named_parameters() if "sink" in name]
    check_against_reference(small, LAYOUT, None, TOLERANCE)


def test_a_layer_at_full_size_equals_the_reference(topology: Topology) -> None:
    """The shape of nulls_1b: 1024 tokens, 2 experts of 3840 sinks, 96 of them active."""
    from nulls_dist.config.presets import nulls_1b

    config = replace(nulls_1b().model, num_layers=1, vocab_size=512)
    small = build_small_model(config, topology)
    lengths = random_lengths(config.context_length, mean=250)
    assert len(lengths) > 2
    layout = layout_of(lengths, range(len(lengths)))
    check_against_reference(small, layout, None, tolerance=1e-4)


def test_gradients_of_sinks_that_no_trained_document_owns_are_exactly_zero(
    topology: Topology,
) -> None:
    small = build_small_model(small_config(), topology)
    total = small.loss_sum(LAYOUT, random_tokens(LAYOUT, small.config), DROPPED)
    mean_loss(total, LAYOUT).backward()
    gradients = small.gradients()
    kept = LAYOUT.source_ids[~DROPPED & (np.array(LAYOUT.lengths) > 1)]
    first_rows = small.router.experts_of(kept)[:, None] * small.config.num_sinks
    rows = small.router.active_sinks(kept) + first_rows
    for layer in range(small.config.num_layers):
        for part in ("gate", "up", "down"):
            gradient = gradients[f"decoder.layers.{layer}.mlp.sinks.{part}"]
            touched = torch.nonzero(gradient.abs().sum(1)).flatten().tolist()
            assert touched == np.unique(rows[layer]).tolist(), (layer, part)


segments = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), min_size=2, max_size=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=segments, data=st.data())
def test_a_document_changes_no_bit_of_another_ones_logits(
    topology: Topology, segments: list[tuple[int, int]], data: st.DataObject
) -> None:
    small = build_small_model(small_config(), topology)
    lengths, sources = zip(*segments, strict=True)
    layout = layout_of(lengths, sources)
    changed = data.draw(st.integers(0, len(lengths) - 1))
    tokens = random_tokens(layout, small.config)
    other_sources = [*sources[:changed], 77, *sources[changed + 1 :]]
    other_tokens = list(tokens.split(layout.lengths))
    other_tokens[changed] = (other_tokens[changed] + 1) % small.config.vocab_size
    before = small.logits(layout, tokens)
    after = small.logits(layout_of(lengths, other_sources), torch.cat(other_tokens))
    assert not torch.equal(before[changed], after[changed])
    for index, (one, two) in enumerate(zip(before, after, strict=True)):
        assert index == changed or torch.equal(one, two)


def test_a_document_alone_gives_the_logits_it_has_inside_a_row(topology: Topology) -> None:
    """Equal to rounding: products of other sizes are summed in another order."""
    small = build_small_model(small_config(), topology)
    tokens = random_tokens(LAYOUT, small.config)
    together = small.logits(LAYOUT, tokens)
    parts = tokens.split(LAYOUT.lengths)
    for index, (length, source) in enumerate(zip(LAYOUT.lengths, LAYOUT.source_ids, strict=True)):
        (alone,) = small.logits(layout_of([length], [int(source)]), parts[index])
        assert relative_error(alone, together[index]) <= 1e-6


def test_positions_restart_in_every_document(topology: Topology) -> None:
    """Logits cannot tell: rotary attention sees distances alone, up to rounding."""
    small = build_small_model(small_config(), topology)
    together = small.rows(LAYOUT, small.plan(LAYOUT)).rotary
    single = layout_of([max(LAYOUT.lengths)], [1])
    alone = small.rows(single, small.plan(single)).rotary
    for inside, angles in zip(together, alone, strict=True):
        for part in inside.split(LAYOUT.lengths):
            assert torch.equal(part, angles[: len(part)])
