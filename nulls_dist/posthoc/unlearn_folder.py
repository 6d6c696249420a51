"""Files in, files out: make the model of a folder forget the texts of a file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from nulls_dist.durable import check_absent, check_outside
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.posthoc.catalogue import Entry, build_method, find_method
from nulls_dist.posthoc.causal_model import Answers
from nulls_dist.posthoc.contract import Example, Need, Request
from nulls_dist.posthoc.evaluation import memorization, recall_of
from nulls_dist.posthoc.folders import DTYPES, Opened, open_folder, write_folder
from nulls_dist.posthoc.plan import Plan, StopRule
from nulls_dist.posthoc.prompts import request_of
from nulls_dist.posthoc.runner import Outcome, run
from nulls_dist.posthoc.text_files import DEFAULT_TEMPLATE, describe_file, read_texts, tokenize

_LONGEST: Final = 512
_NUM_WATCHED: Final = 64
"""Retained texts whose loss is taken at every evaluation: the first ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a user gives beside the model."""

    forget: Path
    retain: Path | None = None
    unseen: Path | None = None
    """Texts that the model never saw: how much of them it gets right is the yardstick."""
    template: str = DEFAULT_TEMPLATE
    refusals: tuple[str, ...] = ("I don't know.",)
    max_tokens: int | None = None
    """Of an example; None for the model's context, at most 512."""
    prompt_tokens: int = 32
    """Of the prompts that documents are cut into, and of the answers that a method writes."""

    @property
    def files(self) -> dict[str, Path]:
        """Return those that are given, by name."""
        named = {"forget": self.forget, "retain": self.retain, "unseen": self.unseen}
        return {name: path for name, path in named.items() if path is not None}

    def describe(self) -> dict[str, Any]:
        """Return JSON-ready values, with a digest of every file."""
        others = {name: value for name, value in asdict(self).items() if name not in self.files}
        return others | {name: describe_file(path) for name, path in self.files.items()}


def unlearn_folder(
    root: Path,
    out: Path,
    *,
    method: str,
    settings: Sequence[str],
    inputs: Inputs,
    plan: Plan,
    dtype: str,
    command: Sequence[str],
) -> tuple[dict[str, Any], str]:
    """Make a model forget, and write what became of it.

    Args:
        root: folder of the model.
        out: output folder, which does not exist yet.
        method: its name in the catalogue.
        settings: of the method, texts "field=value".
        inputs: texts.
        plan: of the run; without a stop rule that of the unseen texts, if there are any.
        dtype: of the weights, a name in `folders.DTYPES`.
        command: for the record.

    Returns:
        The record, and a summary for a terminal.

    Raises:
        ConfigError: method, settings or plan do not fit.
        InputError: the folder or a file cannot be used, or the method needs texts that are missing.
        IntegrityError: a checkpoint is damaged.
    """
    entry = find_method(method)
    check_absent(out)
    check_outside(out, root)
    _check_given(entry, settings, inputs)
    digests = inputs.describe()
    with open_folder(root, dtype=DTYPES[dtype]) as opened:
        outcome = _unlearn(opened, entry, settings, inputs, plan)
        given = {"command": list(command), "model_folder": str(root), "inputs": digests}
        return write_folder(out, opened, outcome, given), outcome.record.summary()


def _check_given(entry: Entry, settings: Sequence[str], inputs: Inputs) -> None:
    if inputs.retain is None and entry.needs & {Need.RETAIN_TEXT, Need.RETAIN_PROMPTS}:
        raise InputError(f"{entry.key} needs texts to keep; give --retain FILE")
    is_told = inputs.unseen is not None or any(
        each.partition("=")[0].strip() == "threshold" for each in settings
    )
    if "threshold" in entry.must_be_told and not is_told:
        raise ConfigError(
            f"{entry.key} must know how much the model gets right of text that it never saw; give "
            "such text by --unseen FILE, or the share itself by --set threshold=SHARE"
        )


def _unlearn(
    opened: Opened, entry: Entry, settings: Sequence[str], inputs: Inputs, plan: Plan
) -> Outcome:
    texts = {name: _read(path, opened, inputs) for name, path in inputs.files.items()}

    def request(forget: str) -> Request:
        return request_of(
            texts[forget], texts.get("retain", ()), asks=entry.asks, length=inputs.prompt_tokens
        )

    usual = None
    if inputs.unseen is not None:
        usual = memorization(Answers(opened.model), request("unseen").forget_text)
        if plan.stop is None and not entry.ends_itself:
            plan = replace(plan, stop=StopRule(score="forget/accuracy", at_most=usual))
    tokenizer = opened.tokenizer
    told = {
        "threshold": usual,
        "layer": opened.middle_layer,
        "embedding": opened.tied_embedding,
        "max_new_tokens": inputs.prompt_tokens,
        "eos_id": tokenizer.eos_token_id,
        "decode": tokenizer.decode,
        "refusals": tuple(
            tuple(tokenizer(f" {text}", add_special_tokens=False).input_ids)
            for text in inputs.refusals
        ),
    }
    wanted = request("forget")
    watched = replace(wanted, retain_text=wanted.retain_text[:_NUM_WATCHED])
    built = build_method(entry.key, told, settings)
    return run(opened.model, built, wanted, plan, recall_of(watched))


def _read(path: Path, opened: Opened, inputs: Inputs) -> tuple[Example, ...]:
    max_tokens = inputs.max_tokens or min(_LONGEST, opened.context_length)
    texts = read_texts(path, template=inputs.template)
    return tokenize(texts, opened.tokenizer, max_tokens=max_tokens)
