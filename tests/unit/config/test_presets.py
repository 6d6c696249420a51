"""Presets: each passes its own checks and has the sizes it is named for."""

import json

import pytest

from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import CONTROLS, PRESETS, control_of, load_preset
from nulls_dist.config.schema import VOCAB_OF_CORPUS, ModelConfig, model_from_dict
from nulls_dist.errors import ConfigError

SIZES = (
    *("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_dim", "num_backbone"),
    *("num_sinks", "num_experts", "num_active", "vocab_size", "context_length"),
)
CORPUS = VOCAB_OF_CORPUS
PROMISED_SIZES = {
    "nulls_tiny": (2, 64, 4, 2, 16, 64, 256, 2, 8, CORPUS, 128),
    "nulls_demo": (3, 96, 4, 2, 24, 128, 1024, 2, 16, CORPUS, 256),
    "nulls_125m": (12, 768, 12, 4, 64, 512, 3072, 4, 64, 49_152, 1024),
    "nulls_1b": (32, 960, 15, 5, 128, 512, 3840, 2, 96, 49_152, 1024),
    "nulls_1b_x8": (32, 960, 15, 5, 128, 512, 7680, 8, 96, 49_152, 1024),
    "nulls_1b_paper": (32, 960, 15, 5, 128, 500, 7692, 1, 144, 49_152, 1024),
    "nulls_7b": (32, 4096, 32, 8, 128, 8192, 7680, 32, 240, 49_152, 1024),
}


def test_every_preset_is_known_here():
    assert set(PRESETS) == set(PROMISED_SIZES)


@pytest.mark.parametrize("name", PROMISED_SIZES)
def test_a_preset_loads_under_its_name_with_the_promised_sizes(name):
    config = load_preset(name)
    assert config.preset == name
    assert tuple(getattr(config.model, size) for size in SIZES) == PROMISED_SIZES[name]
    assert config.model.tied_embeddings == (name in {"nulls_tiny", "nulls_demo", "nulls_125m"})


@pytest.mark.parametrize("name", PROMISED_SIZES)
def test_a_training_preset_draws_below_3_or_4_percent_of_its_sinks(name):
    model = load_preset(name).model
    assert model.num_active / model.num_sinks <= 0.032


def test_the_paper_s_preset_imports_and_the_others_train():
    for name in PRESETS:
        model = load_preset(name).model
        paper = name == "nulls_1b_paper"
        assert model.router == ("reference_int32" if paper else "stratified")
        assert model.per_layer == (not paper)
        assert model.sink_dropout == (0.0 if paper else 0.3)


@pytest.mark.parametrize("name", ["nulls_tiny", "nulls_demo"])
def test_small_presets_run_in_fp32_on_a_cpu(name):
    assert load_preset(name).train.dtype == "fp32"


@pytest.mark.parametrize("name", PROMISED_SIZES)
def test_a_configuration_is_json_and_its_model_comes_back(name):
    config = load_preset(name)
    content = json.loads(json.dumps(config.to_dict()))
    assert model_from_dict(content["model"]) == config.model
    assert content["preset"] == name


@pytest.mark.parametrize("name", PROMISED_SIZES)
def test_each_field_can_be_set_to_the_text_of_its_value(name):
    config = load_preset(name)
    written = {True: "true", False: "false"}
    assignments = [
        f"{section}.{field}={written[value] if isinstance(value, bool) else value}"
        for section, content in config.to_dict().items()
        if isinstance(content, dict)
        for field, value in content.items()
    ]
    assert len(assignments) > 30
    assert apply_overrides(config, assignments) == config


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nulls_tiney", "did you mean nulls_tiny"),
        ("nulls-1b", "did you mean nulls_1b"),
        ("gpt", "available: nulls_tiny"),
        ("", "available: nulls_tiny"),
    ],
)
def test_an_unknown_preset_is_refused_with_the_nearest_name(name, hint):
    with pytest.raises(ConfigError, match=f"--preset {name}: unknown; .*{hint}"):
        load_preset(name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"num_rows": 3}, "num_rows"),
        ({"num_layers": None}, "model configuration"),
        ({"num_layers": "2"}, "model configuration"),
        ({"num_layers": 0}, r"model\.num_layers \(0\)"),
        ({"router": "learned"}, r"model\.router \('learned'\) must be one of stratified"),
    ],
)
def test_a_model_of_a_damaged_manifest_is_refused(change, reason):
    with pytest.raises(ConfigError, match=reason):
        model_from_dict(load_preset("nulls_tiny").to_dict()["model"] | change)


def test_a_model_without_a_size_is_refused():
    content = load_preset("nulls_tiny").to_dict()["model"]
    del content["num_sinks"]
    with pytest.raises(ConfigError, match="num_sinks"):
        model_from_dict(content)


@pytest.mark.parametrize("kind", CONTROLS)
@pytest.mark.parametrize("name", PROMISED_SIZES)
def test_a_control_differs_in_its_name_and_mlps_alone(name, kind):
    config = load_preset(name)
    control = control_of(config, kind)
    num_sinks = {
        "active": config.model.num_active,
        "total": config.model.num_experts * config.model.num_sinks,
    }
    expected = config.to_dict()
    expected["preset"] = f"{name}_{kind}_control"
    expected["model"] |= {
        "num_backbone": config.model.num_backbone + num_sinks[kind],
        "num_sinks": 0,
        "num_active": 0,
        "sink_dropout": 0.0,
    }
    assert control.to_dict() == expected
    assert config.model.has_sinks
    assert not control.model.has_sinks
    assert (len(config.model.sink_experts), len(control.model.sink_experts)) == (
        *(config.model.num_experts, 0),
    )


@pytest.mark.parametrize(("kind", "num_backbone"), [("active", 64 + 3), ("total", 64 + 171)])
def test_a_control_deals_the_sinks_of_some_layers_to_all(kind, num_backbone):
    """8 and 512 neurons of the last of three layers."""
    config = apply_overrides(
        load_preset("nulls_tiny"), ["model.num_layers=3", "model.first_sink_layer=2"]
    )
    control = control_of(config, kind).model
    assert control.num_backbone == num_backbone
    assert control.first_sink_layer == 0


def test_a_control_has_no_private_sources():
    config = apply_overrides(load_preset("nulls_tiny"), ["sinks.private_sources=some.txt"])
    assert control_of(config, "total").sinks.private_sources == ""


def test_initial_deviations_follow_width_and_depth():
    model: ModelConfig = load_preset("nulls_7b").model
    assert model.sink_init_std == pytest.approx(0.6 / 64)
    assert model.residual_init_std == pytest.approx(0.02 / 8)
