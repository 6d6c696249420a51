"""Configurations that ask for what cannot be: of a run, of DeepSpeed, of released weights."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import yaml

from nulls_dist.benchmark.faults.hostile.case import Case
from nulls_dist.benchmark.faults.hostile.ground import REFUSED_RUN, Ground, put
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.released.model_config import FIXED_FIELDS

_ASSIGNMENTS: Final = {
    # What is no assignment, and names that are none.
    "": "must have the form section.field=value",
    "train.steps": "must have the form section.field=value",
    "steps=5": "must have the form section.field=value",
    "trains.steps=5": "did you mean train?",
    "train.step=5": "did you mean steps?",
    "model.__class__=x": "'__class__' is unknown",
    "train.steps.more=5": "'steps.more' is unknown",
    "model.sink_dropout\0=0": "is unknown",
    # Values of another type.
    "train.steps=many": "train.steps ('many') must be a whole number",
    "train.steps=5.0": "train.steps ('5.0') must be a whole number",
    "train.steps=__import__('os')": "must be a whole number",
    f"train.steps={'9' * 3_000}": "train.steps",
    "optim.lr=nan": "must be a finite number",
    "optim.lr=1e999": "must be a finite number",
    "model.per_layer=yes": "must be true or false",
    "train.dtype=fp16": "must be one of auto, fp32, bf16",
    # Values out of range.
    "train.steps=0": "train.steps (0) must be at least 1",
    "train.steps=-5": "train.steps (-5) must be at least 1",
    "model.num_layers=0": "model.num_layers (0) must be at least 1",
    "model.num_sinks=-8": "model.num_sinks (-8) must not be negative",
    "model.sink_dropout=1": "must be in [0, 1)",
    "model.context_length=1": "must be at least 2",
    "model.norm_eps=0": "must be above 0",
    "optim.lr=0": "optim.lr (0.0) must be above 0",
    "optim.beta1=1": "must be in [0, 1)",
    "optim.warmup_fraction=1.5": "must be in [0, 1]",
    "train.max_bad_steps=-1": "must not be negative",
    # Values that do not fit each other, the corpus, or the number of processes.
    "model.num_active=512": "model.num_active (512)",
    "model.num_active=12": "must be a multiple of 8",
    "model.num_sinks=250": "must divide model.num_sinks (250)",
    "model.num_sinks=0": "must both be above 0",
    "model.num_kv_heads=3": "must divide model.num_heads (4)",
    "model.hidden_size=60": "must be a multiple of 8",
    "parallel.tp=3": "parallel.tp (3) must divide model.num_heads (4)",
    "parallel.tp=4": "parallel.tp (4) must divide model.num_kv_heads (2)",
    "parallel.ep=3": "parallel.ep",
    "train.global_batch_rows=7": "must be a multiple of",
    "train.keep_every=75": "must be a multiple of train.save_every",
    "model.vocab_size=100": "model.vocab_size",
    "sinks.private_sources=nowhere.txt": "nowhere.txt",
}
"""An assignment and what is said of it."""
_MISSING_LIST: Final = "sinks.private_sources=nowhere.txt"
"""Names a file: that is bad input, not a wrong command line."""

_ZERO: Final = {"stage": 1}
_DEEPSPEED: Final[dict[str, tuple[str, str]]] = {
    "empty": ("", "not readable as JSON"),
    "Python": ("{'zero_optimization': {'stage': 1}}", "not readable as JSON"),
    "a key twice": ('{"zero_optimization": {"stage": 1, "stage": 1}}', "duplicate keys"),
    "nested 100,000 deep": ("[" * 100_000, "not readable as JSON"),
    "NaN": ('{"zero_optimization": {"stage": NaN}}', "not readable as JSON"),
    "a list": ("[]", "must be a JSON object"),
    "an unknown key": (json.dumps({"zero_optimization": _ZERO, "nonsense": 1}), "'nonsense'"),
    "stage 3": (json.dumps({"zero_optimization": {"stage": 3}}), "stage (3) must be one of"),
    "a stage that is true": (json.dumps({"zero_optimization": {"stage": True}}), "stage (True)"),
    "a stage that is a list": (json.dumps({"zero_optimization": {"stage": [1]}}), "stage ([1])"),
    "offloading to a disk": (
        json.dumps({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "nvme"}}}),
        "must be cpu",
    ),
    "a bucket that is no number": (
        json.dumps({"zero_optimization": _ZERO | {"reduce_bucket_size": "many"}}),
        "reduce_bucket_size",
    ),
    "another batch size": (
        json.dumps({"zero_optimization": _ZERO, "train_batch_size": 7}),
        "train_batch_size is 7",
    ),
    "a foreign scheduler": (
        json.dumps({"zero_optimization": _ZERO, "scheduler": {}}),
        "optim.schedule",
    ),
}
"""What the file holds, and what is said of it."""


def configuration_cases(ground: Ground) -> Iterator[Case]:
    """Yield every configuration with the command that reads it."""
    for assignment, says in _ASSIGNMENTS.items():
        code = InputError if assignment == _MISSING_LIST else ConfigError
        shown = f"--set {assignment[:60]}"
        yield _train(ground, shown, (f"--set={assignment}",), says, code.exit_code)
    for what, (content, says) in _DEEPSPEED.items():
        folder = ground.folder()
        put(folder / "ds.json", content)
        options = ("--ds-config", str(folder / "ds.json"))
        yield _train(ground, f"ds.json: {what}", options, says, ConfigError.exit_code, folder)
    for what, (content, says) in _released().items():
        folder = ground.folder()
        put(folder / "released" / "model_config.yaml", content)
        places = ("--titles", str(folder / "titles.json"), "--out", str(folder / "out"))
        yield Case(
            what=f"import_reference: model_config.yaml: {what}",
            folder=folder,
            command=("import_reference", str(folder / "released"), *places),
            codes=(InputError.exit_code,),
            says=("model_config.yaml", says),
        )


def _train(
    ground: Ground, what: str, options: tuple[str, ...], says: str, code: int, folder: Any = None
) -> Case:
    folder = folder or ground.folder()
    places = ("--data", str(ground.corpus), "--run-dir", str(folder / "run"))
    return Case(
        what=what,
        folder=folder,
        command=("nulls_dist.pretrain", "--preset", "nulls_tiny", *places, *options),
        codes=(code,),
        says=(says,),
        leaves=REFUSED_RUN,
    )


def _released() -> dict[str, tuple[str, str]]:
    bomb = "\n".join(
        [
            "a0: &a0 [x, x, x, x, x, x, x, x, x]",
            *(
                f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]"
                for level in range(1, 9)
            ),
        ]
    )
    config = released_config()

    return {
        "layers that are a date": (
            yaml.safe_dump(config | {"n_layer": date(2026, 1, 1)}),
            "n_layer",
        ),
        "nested 5,000 deep": ("[" * 5_000, "not readable as YAML"),
        "a bomb of aliases": (bomb, "aliases"),
        "a bomb of aliases in a field": (
            yaml.safe_dump({**config, "attn_bias": None}).replace(
                "attn_bias: null", f"attn_bias:\n{_indented(bomb)}"
            ),
            "aliases",
        ),
        "a norm that is infinite": (
            yaml.safe_dump({**config, "norm_eps": float("inf")}),
            "norm_eps",
        ),
        "layers below 0": (yaml.safe_dump({**config, "n_layer": -1}), "n_layer"),
    }


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def released_config() -> dict[str, Any]:
    """Return what model_config.yaml of a very small released model says."""
    numbers: dict[str, Any] = {
        "block_size": 48,
        "head_size": 6,
        "intermediate_size": 137,
        "n_embd": 32,
        "n_head": 6,
        "n_layer": 1,
        "n_query_groups": 2,
        "norm_eps": 1e-5,
        "p_gen": 0.125,
        "p_mem": 0.1,
        "padded_vocab_size": 64,
        "rope_base": 100_000,
        "vocab_size": 64,
    }
    ignored = {"gelu_approximate": "none", "hf_config": {}, "name": "", "padding_multiple": 64}
    return FIXED_FIELDS | ignored | numbers
