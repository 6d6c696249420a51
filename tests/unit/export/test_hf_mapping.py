"""Every dense tensor has one place in a Llama, and comes back from it bit for bit."""

import pytest
import torch

from nulls_dist.checkpoint.shapes import backbone_shapes
from nulls_dist.errors import IntegrityError
from nulls_dist.export.hf_mapping import from_hf, hf_names, to_hf
from tests.checkpoint_factory import tiny_model


@pytest.mark.parametrize("tied", [True, False])
def test_names_are_a_bijection_onto_those_of_a_llama(tied):
    from transformers import LlamaConfig, LlamaForCausalLM

    model = tiny_model(tied_embeddings=tied)
    names = hf_names(model)
    assert set(names) == set(backbone_shapes(model))
    theirs = [place for places in names.values() for place in places]
    assert len(set(theirs)) == len(theirs)
    config = LlamaConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        tie_word_embeddings=tied,
    )
    llama = LlamaForCausalLM(config)
    assert set(theirs) == {name for name, _ in llama.named_parameters()}
    shapes = {name: tuple(values.shape) for name, values in llama.named_parameters()}
    for name, shape in backbone_shapes(model).items():
        for place, part in to_hf(model, name, torch.zeros(shape)).items():
            assert tuple(part.shape) == shapes[place]


@pytest.mark.parametrize("changes", [{}, {"num_heads": 6, "num_kv_heads": 1}, {"num_kv_heads": 4}])
def test_tensors_come_back_bit_for_bit(changes):
    model = tiny_model(tied_embeddings=False, **changes)
    for name, shape in backbone_shapes(model).items():
        tensor = torch.randn(shape)
        assert torch.equal(from_hf(model, name, to_hf(model, name, tensor)), tensor)


def test_fused_rows_go_to_their_heads():
    model = tiny_model(num_heads=4, num_kv_heads=2, head_dim=2)
    # Per group: two query heads, one key, one value, of two rows each.
    rows = torch.arange(16.0)[:, None].expand(16, 16)
    parts = to_hf(model, "decoder.layers.1.self_attention.linear_qkv.weight", rows)
    prefix = "model.layers.1.self_attn."
    heads = {name: parts[f"{prefix}{name}_proj.weight"][:, 0].tolist() for name in "qkv"}
    assert heads == {
        "q": [0, 1, 2, 3, 8, 9, 10, 11],
        "k": [4, 5, 12, 13],
        "v": [6, 7, 14, 15],
    }
    rows = torch.arange(48.0)[:, None].expand(48, 16)
    parts = to_hf(model, "decoder.layers.0.mlp.backbone.linear_fc1.weight", rows)
    assert parts["model.layers.0.mlp.gate_proj.weight"][:, 0].tolist() == list(range(24))
    assert parts["model.layers.0.mlp.up_proj.weight"][:, 0].tolist() == list(range(24, 48))


@pytest.mark.parametrize(
    "name",
    [
        "decoder.layers.2.input_layernorm.weight",
        "decoder.layers.0.mlp.sinks.gate",
        "decoder.layers.0.self_attention.linear_qkv.bias",
        "output_layer.weight",
    ],
)
def test_tensor_without_a_place_is_an_error(name):
    with pytest.raises(IntegrityError, match="no place"):
        to_hf(tiny_model(), name, torch.zeros(4, 16))
