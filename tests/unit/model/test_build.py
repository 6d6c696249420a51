"""What is built: sizes of the presets, initial values, and the library calls this relies on."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
import torch

from nulls_dist.config.presets import CONTROLS, PRESETS, Control, control_of, load_preset
from nulls_dist.config.schema import ModelConfig
from nulls_dist.parallel.topology import Topology
from tests.small_models import CPU, build_small_model, small_config, whole_model

VOCABULARY = 1000


def count_parameters(c: ModelConfig) -> int:
    """Parameters of the model, from its dimensions."""
    embeddings = c.vocab_size * c.hidden_size * (1 if c.tied_embeddings else 2)
    attention = c.hidden_size * c.head_dim * 2 * (c.num_heads + c.num_kv_heads)
    neurons = c.num_layers * c.num_backbone
    neurons += (c.num_layers - c.first_sink_layer) * c.num_experts * c.num_sinks
    norms = (2 * c.num_layers + 1) * c.hidden_size
    return embeddings + c.num_layers * attention + 3 * neurons * c.hidden_size + norms


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_parameters_of_the_closed_formula(
    topology: Topology, name: str
) -> None:
    from nulls_dist.model.gpt import build_model

    config = load_preset(name).model
    config = replace(config, vocab_size=config.vocab_size or VOCABULARY)
    model = build_model(config, whole_model(config), torch.device("meta"))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert sum(parameter.numel() for parameter in model.parameters()) == count_parameters(config)


@pytest.mark.parametrize("kind", CONTROLS)
@pytest.mark.parametrize("name", PRESETS)
def test_a_control_has_the_parameters_that_serve_a_token_or_all_of_them(
    topology: Topology, name: str, kind: Control
) -> None:
    from nulls_dist.model.counts import count_model
    from nulls_dist.model.gpt import build_model

    config = load_preset(name)
    config = replace(config, model=replace(config.model, vocab_size=VOCABULARY))
    counts = count_model(config.model)
    wanted = counts.active_parameters if kind == "active" else counts.parameters
    control = control_of(config, kind).model
    model = build_model(control, whole_model(control), torch.device("meta"))
    assert sum(parameter.numel() for parameter in model.parameters()) == wanted
    assert count_model(control).parameters == wanted
    assert count_model(control).sink_parameters == 0


def test_counts_are_those_of_a_model_whose_first_layers_have_no_sinks(topology: Topology) -> None:
    from nulls_dist.model.counts import count_model

    config = small_config(num_layers=3, first_sink_layer=2)
    parameters = dict(build_small_model(config, topology).model.named_parameters())
    sinks = sum(each.numel() for name, each in parameters.items() if "sinks" in name)
    counts = count_model(config)
    assert counts.parameters == sum(each.numel() for each in parameters.values())
    assert counts.sink_parameters == sinks
    share = config.num_active / (config.num_experts * config.num_sinks)
    assert counts.active_parameters == counts.backbone_parameters + sinks * share


def test_the_1b_presets_have_the_sizes_they_are_named_after() -> None:
    assert count_parameters(load_preset("nulls_1b").model) == 1_006_695_360
    assert count_parameters(load_preset("nulls_1b_x8").model) == 5_961_216_960


def test_initial_values_do_not_depend_on_the_topology(topology: Topology) -> None:
    config = small_config()
    whole = dict(build_small_model(config, topology, seed=3).model.named_parameters())
    for rank in range(2):
        half = Topology(dp=2, ep=2, rank=rank, num_experts=2)
        rows = slice(rank * config.num_sinks, (rank + 1) * config.num_sinks)
        for name, parameter in build_small_model(config, half, seed=3).model.named_parameters():
            expected = whole[name][rows] if ".sinks." in name else whole[name]
            assert torch.equal(parameter, expected), name


def test_tensor_parallel_ranks_start_with_the_shards_of_the_whole_model(
    topology: Topology,
) -> None:
    """Heads, neurons and vocabulary in halves; gate and up of a SwiGLU matrix each in halves."""
    from nulls_dist.model.gpt import initialize

    config = replace(small_config(), vocab_size=64)
    whole = dict(build_small_model(config, topology, seed=3).model.named_parameters())
    half_neurons = config.num_backbone // 2
    for rank in range(2):
        half = Topology(dp=1, ep=1, rank=rank, num_experts=2, tp=2)
        shards = {}
        for name, values in whole.items():
            if name.endswith(("word_embeddings.weight", "linear_qkv.weight")):
                expected = values.chunk(2)[rank]
            elif name.endswith(("linear_proj.weight", "linear_fc2.weight")):
                expected = values.chunk(2, dim=1)[rank]
            elif name.endswith("linear_fc1.weight"):
                kept = slice(rank * half_neurons, (rank + 1) * half_neurons)
                gate, up = values.chunk(2)
                expected = torch.cat([gate[kept], up[kept]])
            else:
                expected = values
            shards[name] = expected
        model = build_small_model(config, topology).model
        for name, parameter in model.named_parameters():
            parameter.data = torch.full_like(shards[name], float("nan"))
        initialize(model, config, half, seed=3)
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, shards[name]), name


def test_initial_values_depend_on_the_seed_and_the_name(topology: Topology) -> None:
    config = small_config()
    one, two = (
        dict(build_small_model(config, topology, seed).model.named_parameters()) for seed in (0, 1)
    )
    name = "decoder.layers.{}.mlp.sinks.up"
    assert not torch.equal(one[name.format(0)], two[name.format(0)])
    assert not torch.equal(one[name.format(0)], one[name.format(1)])
    assert one[name.format(0)].std().item() == pytest.approx(config.sink_init_std, rel=0.02)


def test_building_consumes_no_random_state(topology: Topology) -> None:
    before = torch.get_rng_state()
    build_small_model(small_config(), topology)
    assert torch.equal(torch.get_rng_state(), before)


def test_sinks_are_expert_parameters_to_deepspeed(topology: Topology) -> None:
    from deepspeed.moe.layer import MoE
    from deepspeed.moe.utils import has_moe_layers, is_moe_param

    from nulls_dist.model.gpt import build_model, is_sink

    config = small_config()
    model = build_model(config, topology, CPU)
    assert has_moe_layers(model) == (True, config.num_experts)
    assert sum(isinstance(module, MoE) for module in model.modules()) == config.num_layers
    for name, parameter in model.named_parameters():
        assert is_moe_param(parameter) == is_sink(name) == (".sinks." in name)


def test_the_pinned_libraries_are_installed() -> None:
    assert version("megatron-core") == "0.16.1"
    assert version("deepspeed") == "0.19.8"


def _parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_the_interfaces_of_megatron_that_the_model_relies_on_are_unchanged() -> None:
    """A new release that moves an argument must fail here, not train something else."""
    from megatron.core.models.gpt.gpt_model import GPTModel
    from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
    from megatron.core.transformer.mlp import MLP
    from megatron.core.transformer.transformer_block import (
        TransformerBlock,
        TransformerBlockSubmodules,
    )
    from megatron.core.transformer.transformer_layer import (
        TransformerLayer,
        TransformerLayerSubmodules,
    )

    through_layers = [
        *("hidden_states", "attention_mask", "context", "context_mask"),
        *("rotary_pos_emb", "rotary_pos_cos", "rotary_pos_sin", "rotary_pos_cos_sin"),
        *("attention_bias", "inference_context", "packed_seq_params", "sequence_len_offset"),
        *("padding_mask", "inference_params"),
    ]
    assert _parameters(TransformerLayer.__init__) == [
        *("config", "submodules", "layer_number", "hidden_dropout", "pg_collection", "vp_stage")
    ]
    assert _parameters(TransformerLayer.forward) == ["args", "kwargs"]
    assert _parameters(TransformerLayer._forward_attention) == through_layers
    assert _parameters(TransformerLayer._forward_pre_mlp_layernorm) == ["hidden_states"]
    assert _parameters(TransformerBlock.forward) == [
        *through_layers,
        "dynamic_inference_decode_only",
    ]
    assert _parameters(SelfAttention.forward) == [
        *("hidden_states", "attention_mask", "key_value_states", "inference_context"),
        *("rotary_pos_emb", "rotary_pos_cos", "rotary_pos_sin", "rotary_pos_cos_sin"),
        *("attention_bias", "packed_seq_params", "sequence_len_offset", "inference_params"),
    ]
    assert _parameters(MLP.__init__) == [
        *("config", "submodules", "is_expert", "input_size", "ffn_hidden_size", "tp_group")
    ]
    assert _parameters(GPTModel.forward) == [
        *("input_ids", "position_ids", "attention_mask", "decoder_input", "labels"),
        *("inference_context", "packed_seq_params", "extra_block_kwargs"),
        *("runtime_gather_output", "inference_params", "loss_mask", "padding_mask"),
    ]
    assert {"hidden_states", "labels", "loss_mask"} <= set(_parameters(GPTModel._postprocess))
    assert {
        *("config", "transformer_layer_spec", "vocab_size", "max_sequence_length"),
        *("position_embedding_type", "share_embeddings_and_output_weights"),
    } <= set(_parameters(GPTModel.__init__))
    for submodules, names in (
        (TransformerBlockSubmodules, {"layer_specs", "layer_norm"}),
        (
            TransformerLayerSubmodules,
            {"input_layernorm", "self_attention", "self_attn_bda", "pre_mlp_layernorm", "mlp"},
        ),
        (
            SelfAttentionSubmodules,
            {"linear_qkv", "core_attention", "linear_proj", "q_layernorm", "k_layernorm"},
        ),
    ):
        assert names <= set(_parameters(submodules))
