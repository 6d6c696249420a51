"""DeepSpeed's JSON: only what is known and owned by nobody else gets through."""

import json
from pathlib import Path

import pytest

from nulls_dist.config.deepspeed import (
    DEFAULT_FILE_CONTENT,
    ZERO_STAGES,
    deepspeed_config,
    read_deepspeed_file,
    settle_deepspeed_file,
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
        *(
            ({"zero_optimization": {"stage": 2, "offload_optimizer": offload}}, message)
            for offload, message in (
                (True, "zero_optimization.offload_optimizer must be a JSON object"),
                ({}, "offload_optimizer.device (None) must be cpu"),
                ({"device": "nvme"}, "offload_optimizer.device ('nvme') must be cpu"),
                ({"device": "cpu", "ratio": 0.5}, "offload_optimizer.ratio is refused"),
                ({"device": "cpu", "pin_memory": 1}, "offload_optimizer.pin_memory (1) must be"),
            )
        ),
        (
            {"zero_optimization": ZERO1 | {"offload_optimizer": {"device": "cpu"}}},
            "zero_optimization.offload_optimizer needs zero_optimization.stage 2, not 1",
        ),
        (
            {"zero_optimization": ZERO1 | {"reduce_scatter": False}},
            "zero_optimization.reduce_scatter (False) must be true",
        ),
        (
            {"zero_optimization": {"stage": 2, "contiguous_gradients": False}},
            "zero_optimization.contiguous_gradients (False) must be true",
        ),
        (
            {"zero_optimization": ZERO1 | {"reduce_bucket_size": "many"}},
            "zero_optimization.reduce_bucket_size ('many') must be a number of elements above 0",
        ),
        (
            {"zero_optimization": ZERO1 | {"allgather_bucket_size": True}},
            "zero_optimization.allgather_bucket_size (True) must be a number of elements above 0",
        ),
        (
            {"zero_optimization": ZERO1 | {"overlap_comm": "yes"}},
            "zero_optimization.overlap_comm ('yes') must be true or false",
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
        ({"zero_optimization": ZERO1, "scheduler": {}}, "scheduler is optim.schedule's; remove it"),
        *(
            ({"zero_optimization": ZERO1} | content, f"key {name!r} is not one of")
            for content, name in (
                ({"bf16": True}, "bf16"),
                ({"bf16": {}}, "bf16"),
                (
                    {"bf16": {"enabled": True, "immediate_grad_update": True}},
                    "bf16.immediate_grad_update",
                ),
                ({"fp16": {"enabled": False, "loss_scale": 0}}, "fp16.loss_scale"),
                ({"optimizer": {"type": "AdamW", "legacy": True}}, "optimizer.legacy"),
                ({"optimizer": {"params": {"momentum": 0.9}}}, "optimizer.params.momentum"),
            )
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


def tiny(*assignments):
    return apply_overrides(load_preset("nulls_tiny"), assignments)


AGREEING = {
    "train_batch_size": 8,
    "train_micro_batch_size_per_gpu": 2,
    "gradient_accumulation_steps": 2,
    "gradient_clipping": 1,
    "bf16": {"enabled": False},
    "fp16": {"enabled": False},
    "data_types": {"grad_accum_dtype": "fp32"},
    "communication_data_type": "fp32",
    "optimizer": {
        "type": "AdamW",
        "params": {
            "lr": 3e-3,
            "betas": [0.9, 0.98],
            "eps": 1e-8,
            "weight_decay": 0.1,
            "torch_adam": True,
        },
    },
}
"""All that the file may repeat, as the tiny preset says it on two ranks."""


def test_what_the_run_says_too_may_be_repeated_and_is_taken_from_the_run(tmp_path):
    content = read(tmp_path, {"zero_optimization": ZERO1, "wall_clock_breakdown": True} | AGREEING)
    settled = settle_deepspeed_file(content, tiny(), data_parallel=2)
    assert settled == {"zero_optimization": ZERO1, "wall_clock_breakdown": True}


@pytest.mark.parametrize(
    ("content", "assignments", "both"),
    [
        ({"train_batch_size": 16}, [], "is 16 in the file but 8 in this run (train.global_batch"),
        ({"train_batch_size": True}, [], "is true in the file but 8 in this run"),
        ({"train_batch_size": None}, [], "is null in the file but 8 in this run"),
        ({"train_micro_batch_size_per_gpu": 4}, [], "is 4 in the file but 2 in this run (train.mi"),
        (
            {"gradient_accumulation_steps": 4},
            [],
            "is 4 in the file but 2 in this run (train.global_batch_rows=8, "
            "train.micro_batch_rows=2, 2 data-parallel ranks)",
        ),
        (
            {"gradient_clipping": 0.5},
            ["optim.grad_clip=0.25"],
            "is 0.5 in the file but 0.25 in this run (optim.grad_clip=0.25)",
        ),
        ({"bf16": {"enabled": True}}, [], "is true in the file but false in this run (train.dtype"),
        (
            {"bf16": {"enabled": False}},
            ["train.dtype=bf16"],
            "is false in the file but true in this run (train.dtype=bf16)",
        ),
        ({"fp16": {"enabled": True}}, [], "is true in the file but false in this run (train.dtype"),
        ({"fp16": {"enabled": 0}}, [], "is 0 in the file but false in this run"),
        ({"data_types": {"grad_accum_dtype": "bf16"}}, [], 'is "bf16" in the file but "fp32" in'),
        ({"communication_data_type": "bf16"}, [], 'is "bf16" in the file but "fp32" in this run'),
        ({"optimizer": {"type": "Lion"}}, [], 'is "Lion" in the file but "AdamW" in this run'),
        ({"optimizer": {"params": {"lr": 0.1}}}, [], "is 0.1 in the file but 0.003 in this run"),
        (
            {"optimizer": {"params": {"betas": [0.9, 0.95]}}},
            [],
            "is [0.9, 0.95] in the file but [0.9, 0.98] in this run (optim.beta1=0.9, optim.beta2",
        ),
        ({"optimizer": {"params": {"eps": 1e-6}}}, [], "is 1e-06 in the file but 1e-08 in this"),
        ({"optimizer": {"params": {"weight_decay": 0}}}, [], "is 0 in the file but 0.1 in this"),
        ({"optimizer": {"params": {"torch_adam": False}}}, [], "is false in the file but true in"),
    ],
)
def test_a_contradiction_is_refused_with_both_values(tmp_path, content, assignments, both):
    content = read(tmp_path, {"zero_optimization": ZERO1} | content)
    with pytest.raises(ConfigError) as caught:
        settle_deepspeed_file(content, tiny(*assignments), data_parallel=2)
    assert both in str(caught.value)
    assert "make them agree, or remove it" in str(caught.value)


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
