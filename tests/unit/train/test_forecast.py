"""Sizes and memory of a run before it starts."""

import json

import pytest

from nulls_dist.config.presets import PRESETS, load_preset
from nulls_dist.errors import ConfigError, InputError, RefusedError
from nulls_dist.model.counts import count_model
from nulls_dist.pretrain import main
from tests.launch import ROOT
from tests.small_models import small_config

NOWHERE = ["--data", "nowhere", "--run-dir", "nowhere", "--dry-run"]
FILES = sorted((ROOT / "ds_configs").glob("*.json"))


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


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_forecast_without_a_corpus_once_the_vocabulary_is_known(name, capsys):
    vocabulary = load_preset(name).model.vocab_size or 4000
    main(["--preset", name, f"--set=model.vocab_size={vocabulary}", *NOWHERE])
    text = capsys.readouterr().out
    assert "state per rank" in text
    main(["--preset", name, f"--set=model.vocab_size={vocabulary}", *NOWHERE, "--json"])
    forecast = json.loads(capsys.readouterr().out)
    assert forecast["model"]["parameters"] > forecast["model"]["active_parameters"] > 0
    assert f"{forecast['model']['parameters']:,}" in text


def forecast(capsys, *arguments):
    main([*NOWHERE, "--json", *arguments])
    return json.loads(capsys.readouterr().out)


def test_a_run_is_forecast_for_a_world_and_a_gpu_that_are_not_here(capsys):
    found = forecast(capsys, "--preset=nulls_1b", "--world-size=8", "--gpu=h200")
    assert found["topology"] == {"dp": 8, "ep": 2, "edp": 4, "tp": 1}
    assert found["config"]["train"]["dtype"] == "bf16"
    assert found["data"]["microbatches_per_step_and_rank"] == 512 // (8 * 16)
    parameters, sinks = 1_006_695_360, 707_788_800
    dense = parameters - sinks
    memory = found["memory_per_rank_bytes"]
    assert memory["weights"] == 2 * (dense + sinks // 2)
    assert memory["gradients"] == 6 * (dense + sinks // 2)
    assert memory["optimizer"] == 12 * (dense // 8 + sinks // 8)
    assert found["checkpoint_bytes"] == {"weights": 2 * parameters, "full": 14 * parameters}
    flops = found["model"]["flops_per_token"]
    update_s = parameters / 8 * 64 / (4.8e12 * 0.7)
    compute_s = 512 * 1024 * flops / 8 / (989.4e12 * 0.4)
    assert found["expected"]["tokens_per_s"] == pytest.approx(512 * 1024 / (compute_s + update_s))
    assert "not a measurement" in found["expected"]["note"]


def test_the_variants_hold_the_run_that_was_asked_for(capsys):
    found = forecast(capsys, "--preset=nulls_125m", "--gpu=h100")
    (own,) = [
        variant
        for variant in found["memory_variants"]
        if (variant.pop("zero_stage"), variant.pop("recompute")) == (1, False)
    ]
    assert own == found["memory_per_rank_bytes"]
    assert len(found["memory_variants"]) == 4


def test_no_speed_is_expected_where_no_rate_is_known(capsys):
    preset = "--preset=nulls_125m"
    offload = f"--ds-config={ROOT / 'ds_configs' / 'zero2_offload_optimizer.json'}"
    for arguments in ([], ["--gpu=h200", "--set=train.dtype=fp32"], ["--gpu=h200", offload]):
        assert forecast(capsys, preset, *arguments)["expected"] is None


def test_a_run_that_does_not_fit_is_refused_after_the_table_with_what_would_fit(capsys):
    options = ["--gpu=a100", "--world-size=2", "--set=train.micro_batch_rows=128"]
    with pytest.raises(RefusedError) as caught:
        main(["--preset", "nulls_1b", *NOWHERE, *options])
    assert "--gpu: a rank needs" in str(caught.value)
    assert (
        "above the 80.0 GB of NVIDIA A100-SXM4-80GB; fits: ZeRO-1 with recomputation, ZeRO-2 with"
        in str(caught.value)
    )
    assert "train.micro_batch_rows (128)" in str(caught.value)
    assert "peak per rank" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["--world-size=8"], ["--gpu=h200"]])
def test_a_real_run_cannot_be_told_what_is_here(option):
    with pytest.raises(ConfigError, match="only with --dry-run"):
        main(["--preset=nulls_tiny", "--data=nowhere", "--run-dir=nowhere", *option])


@pytest.mark.parametrize("world_size", [3, 16])
def test_a_world_that_does_not_divide_is_refused(world_size):
    with pytest.raises(ConfigError, match=f"world size {world_size}"):
        main(["--preset=nulls_tiny", *NOWHERE, f"--world-size={world_size}"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_deepspeed_file_that_ships_loads_and_is_forecast(path, capsys):
    content = json.loads(path.read_text())
    zero = content["zero_optimization"]
    dtype = "bf16" if content.get("bf16", {}).get("enabled") else "fp32"
    settings = ["--set=model.vocab_size=500", f"--set=train.dtype={dtype}"]
    found = forecast(capsys, "--preset=nulls_tiny", f"--ds-config={path}", *settings)
    assert found["zero"] == {
        "stage": zero["stage"],
        "bucket_elements": zero["reduce_bucket_size"],
        "num_buckets": 2 if zero["overlap_comm"] else 1,
        "offloads_optimizer": "offload_optimizer" in zero,
    }
    memory = found["memory_per_rank_bytes"]
    assert (memory["optimizer"] == 0) == (memory["host"] > 0) == ("offload_optimizer" in zero)


def test_a_deepspeed_file_that_contradicts_the_run_is_refused_before_the_forecast():
    path = ROOT / "ds_configs" / "zero1_bf16.json"
    with pytest.raises(ConfigError) as caught:
        main(["--preset=nulls_tiny", *NOWHERE, f"--ds-config={path}"])
    assert "bf16.enabled is true in the file but false in this run" in str(caught.value)
    assert "(train.dtype=fp32)" in str(caught.value)


def test_a_vocabulary_that_nobody_says_is_refused():
    with pytest.raises(InputError, match="nowhere is not a corpus"):
        main(["--preset=nulls_tiny", *NOWHERE])
