"""DeepSpeed's JSON: only what is known and owned by nobody else gets through."""

import json
from pathlib import Path

import pytest

from nulls_dist.config.deepspeed import (
    DEFAULT_FILE_CONTENT,
    ZERO_STAGES,
    deepspeed_config,
    read_deepspeed_file,
)
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import load_preset
from nulls_dist.errors import ConfigError

FILES = sorted((Path(__file__).parents[3] / "ds_configs").glob("*.json"))


def read(tmp_path, content):
    path = tmp_path / "ds.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_deepspeed_file(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_that_ships_is_accepted(path):
    assert read_deepspeed_file(path)["zero_optimization"]["stage"] in ZERO_STAGES


def test_the_zero1_file_is_the_built_in_default():
    (path,) = [path for path in FILES if path.name == "zero1.json"]
    assert read_deepspeed_file(path) == DEFAULT_FILE_CONTENT


ZERO1 = {"stage": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not readable as JSON"),
        ("{'stage': 1}", "not readable as JSON"),
        ('{"zero_optimization": {"stage": 1, "stage": 1}}', "duplicate keys"),
        ([], "must be a JSON object"),
        ("null", "must be a JSON object"),
        ({"zero_optimization": ZERO1, "nonsense_key": 1}, "key 'nonsense_key' is not one of"),
        ({"zero_optimization": ZERO1, "Zero_optimization": {}}, "key 'Zero_optimization' is not"),
        ({}, "zero_optimization.stage (None) must be one of"),
        ({"zero_optimization": None}, "zero_optimization must be a JSON object"),
        ({"zero_optimization": {}}, "zero_optimization.stage (None) must be one of"),
        ({"zero_optimization": {"stage": "1"}}, "zero_optimization.stage ('1') must be one of"),
        ({"zero_optimization": {"stage": 0}}, "zero_optimization.stage (0) must be one of"),
        ({"zero_optimization": {"stage": 3}}, "zero_optimization.stage (3) must be one of"),
        (
            {"zero_optimization": ZERO1 | {"round_robin_gradients": True}},
            "zero_optimization.round_robin_gradients is refused",
        ),
        (
            {"zero_optimization": ZERO1 | {"offload_optimizer": {"device": "cpu"}}},
            "zero_optimization.offload_optimizer is refused",
        ),
        ({"zero_optimization": {"stage": True}}, "zero_optimization.stage (True) must be one of"),
        (
            {"zero_optimization": ZERO1 | {"cpu_offload": True}},
            "zero_optimization.cpu_offload is refused",
        ),
        (
            {"zero_optimization": ZERO1 | {"offload_param": None}},
            "zero_optimization.offload_param is refused",
        ),
        *(
            ({"zero_optimization": ZERO1, key: 1}, f"{key} is set by {owner}")
            for key, owner in {
                "train_batch_size": "train.global_batch_rows",
                "train_micro_batch_size_per_gpu": "train.micro_batch_rows",
                "gradient_accumulation_steps": "train.global_batch_rows",
                "gradient_clipping": "optim.grad_clip",
                "optimizer": "optim",
                "scheduler": "optim",
                "bf16": "train.dtype",
                "fp16": "train.dtype",
                "data_types": "train.dtype",
                "communication_data_type": "train.dtype",
            }.items()
        ),
    ],
)
def test_a_file_that_says_too_much_or_the_wrong_thing_is_refused_by_name(
    tmp_path, content, message
):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, content)
    assert message in str(caught.value)
    assert f"--ds-config {tmp_path / 'ds.json'}" in str(caught.value)


def test_a_missing_file_is_an_error_of_the_command_line(tmp_path):
    with pytest.raises(ConfigError, match=r"--ds-config .*gone\.json: file is missing"):
        read_deepspeed_file(tmp_path / "gone.json")


def test_options_that_nobody_owns_are_passed_on(tmp_path):
    content = {
        "zero_optimization": ZERO1 | {"overlap_comm": True, "allgather_bucket_size": 1000},
        "wall_clock_breakdown": True,
    }
    assert read(tmp_path, content) == content


def test_the_whole_configuration_takes_its_quantities_from_the_run():
    config = apply_overrides(
        load_preset("nulls_tiny"),
        ["train.micro_batch_rows=4", "optim.grad_clip=0.5", "optim.lr=0.25", "optim.beta1=0.8"],
    )
    whole = deepspeed_config(config, DEFAULT_FILE_CONTENT, accumulation=3)
    assert whole["zero_optimization"] == DEFAULT_FILE_CONTENT["zero_optimization"]
    assert whole["train_micro_batch_size_per_gpu"] == 4
    assert whole["gradient_accumulation_steps"] == 3
    assert whole["gradient_clipping"] == 0.5
    assert whole["optimizer"]["params"]["lr"] == 0.25
    assert whole["optimizer"]["params"]["betas"] == [0.8, 0.98]
    assert "bf16" not in whole
    assert set(DEFAULT_FILE_CONTENT) == {"zero_optimization"}


def test_bf16_runs_accumulate_and_communicate_gradients_in_fp32():
    config = apply_overrides(load_preset("nulls_tiny"), ["train.dtype=bf16"])
    whole = deepspeed_config(config, DEFAULT_FILE_CONTENT, accumulation=1)
    assert whole["bf16"] == {"enabled": True}
    assert whole["data_types"] == {"grad_accum_dtype": "fp32"}
    assert whole["communication_data_type"] == "fp32"
