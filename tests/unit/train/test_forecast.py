"""Sizes and memory of a run before it starts."""

import json

import pytest

from nulls_dist.config.presets import PRESETS, load_preset
from nulls_dist.model.counts import count_model, count_rank_memory
from nulls_dist.parallel.topology import Topology
from nulls_dist.pretrain import main
from tests.small_models import small_config


def test_counts_of_a_small_model_by_hand():
    config = small_config(tied_embeddings=False)
    counts = count_model(config)
    width, heads, kv, head = (
        config.hidden_size,
        config.num_heads,
        config.num_kv_heads,
        config.head_dim,
    )
    attention = width * heads * head + 2 * width * kv * head + heads * head * width
    mlp = 3 * width * config.num_backbone
    norms = 2 * width
    layers = config.num_layers * (attention + mlp + norms) + width
    embeddings = 2 * config.vocab_size * width
    sinks = config.num_layers * 3 * width * config.num_sinks * config.num_experts
    active = config.num_layers * 3 * width * config.num_active
    assert counts.backbone_parameters == layers + embeddings
    assert counts.sink_parameters == sinks
    assert counts.parameters == layers + embeddings + sinks
    assert counts.active_parameters == layers + embeddings + active


def test_floating_point_operations_are_six_per_active_weight_and_attention():
    config = small_config(tied_embeddings=True)
    weights = count_model(config).active_parameters
    norms = (2 * config.num_layers + 1) * config.hidden_size
    scores = config.num_layers * config.num_heads * config.head_dim * config.context_length
    assert count_model(config).flops_per_token == 6 * (weights - norms) + 6 * scores


@pytest.mark.parametrize(("dtype", "weights", "gradients"), [("fp32", 4, 4), ("bf16", 2, 6)])
def test_memory_of_a_rank_by_hand(dtype, weights, gradients):
    counts = count_model(small_config())
    topology = Topology(dp=4, ep=2, rank=0, num_experts=2)
    memory = count_rank_memory(counts, topology, dtype)
    held = counts.backbone_parameters + counts.sink_parameters // 2
    assert memory.weights == weights * held
    assert memory.gradients == gradients * held
    owned = counts.backbone_parameters / 4 + counts.sink_parameters / 4
    assert memory.optimizer == round(12 * owned)
    assert memory.total == memory.weights + memory.gradients + memory.optimizer


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_forecast_without_a_corpus_once_the_vocabulary_is_known(name, capsys):
    vocabulary = load_preset(name).model.vocab_size or 4000
    places = ["--data", "nowhere", "--run-dir", "nowhere", "--dry-run"]
    main(["--preset", name, f"--set=model.vocab_size={vocabulary}", *places])
    text = capsys.readouterr().out
    assert "state per rank" in text
    main(["--preset", name, f"--set=model.vocab_size={vocabulary}", *places, "--json"])
    forecast = json.loads(capsys.readouterr().out)
    assert forecast["model"]["parameters"] > forecast["model"]["active_parameters"] > 0
    assert f"{forecast['model']['parameters']:,}" in text
