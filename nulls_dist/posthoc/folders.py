"""Hugging Face folders: a model that is to forget, and what became of it.

config.json, model*.safetensors, tokenizer files    the unlearned model; or, of a method that
hook.json, hook.safetensors                         leaves the weights, what stands before it
unlearning.json    the record: method, settings, costs, scores, checks, digests, versions
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import nn

from nulls_dist.checkpoint.format import MANIFEST_FILE
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.durable import new_directory, write_json
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.export.backbone import export_backbone
from nulls_dist.export.release import ReleaseOptions
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.posthoc.dense_control import check_dense
from nulls_dist.posthoc.hook_files import write_hook
from nulls_dist.posthoc.runner import Outcome

RECORD_FILE: Final = "unlearning.json"
DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}

_CONTEXT: Final = 1024
"""Where a configuration does not say how far a model sees."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model that is to forget."""

    model: Any
    """A causal language model of transformers."""
    tokenizer: Any
    context_length: int

    @property
    def middle_layer(self) -> str | None:
        """Dotted name of the layer in the middle; None where the model has no list of layers."""
        lists = {
            name: len(module)
            for name, module in self.model.named_modules()
            if isinstance(module, nn.ModuleList)
        }
        longest = max(lists, key=lambda name: lists[name], default=None)
        return None if longest is None else f"{longest}.{lists[longest] // 2}"

    @property
    def tied_embedding(self) -> str | None:
        """Dotted name of the input embedding where it is the output matrix, too; otherwise None."""
        inputs, output = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        if output is None or inputs.weight is not output.weight:
            return None
        names = (name for name, module in self.model.named_modules() if module is inputs)
        return str(next(names))


@contextmanager
def open_folder(root: Path, *, dtype: torch.dtype) -> Iterator[Opened]:
    """Open a Hugging Face folder, or a checkpoint of this project that has no sinks.

    Nothing in the folder is executed or unpickled, and nothing is fetched.

    Args:
        root: the folder.
        dtype: of the weights: small steps vanish in bfloat16.

    Raises:
        ConfigError: transformers is not installed.
        InputError: it is neither, or has sinks.
        IntegrityError: a checkpoint is damaged.
    """
    if (root / MANIFEST_FILE).is_file():
        checkpoint = Checkpoint(root)
        check_dense(checkpoint)
        with TemporaryDirectory() as folder:
            release = Path(folder) / "release"
            export_backbone(checkpoint, release, ReleaseOptions(dtype=dtype))
            yield _load(release, dtype)
    elif (root / "config.json").is_file():
        yield _load(root, dtype)
    else:
        raise InputError(
            f"{root} is neither a Hugging Face folder (config.json) nor a checkpoint of this "
            f"project ({MANIFEST_FILE}); download the model first and name its folder"
        )


def write_folder(
    out: Path, opened: Opened, outcome: Outcome, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Write what became of a model, whole or not at all.

    Args:
        out: a folder that does not exist yet.
        opened: the model that was unlearned.
        outcome: of the run.
        given: what a repetition takes beside the record of the run.

    Returns:
        The record.

    Raises:
        InputError: `out` exists.
        ConfigError: no file holds what stands before the model.
    """
    record = outcome.record.to_dict() | dict(given)
    keeps_model = outcome.model is opened.model
    with new_directory(out) as partial:
        if keeps_model:
            opened.model.save_pretrained(partial)
            opened.tokenizer.save_pretrained(partial)
        else:
            write_hook(partial, outcome.model)
        write_json(partial / RECORD_FILE, record)
    return record


def _load(root: Path, dtype: torch.dtype) -> Opened:
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Hugging Face folders need transformers: pip install 'nulls-dist[hf]'"
        ) from error
    with _refusing(root, "model"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            root, dtype=dtype, local_files_only=True, use_safetensors=True
        )
    with _refusing(root, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(root, local_files_only=True)
    model = loaded.to(select_accelerator(0).device).eval()
    context = getattr(model.config, "max_position_embeddings", None) or _CONTEXT
    return Opened(model=model, tokenizer=tokenizer, context_length=int(context))


@contextmanager
def _refusing(root: Path, part: str) -> Iterator[None]:
    """Say on one line what transformers does not take."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{root}: transformers cannot load its {part}: {reason}; the folder must hold "
            "config.json, weights in safetensors, a tokenizer, and no code of its own"
        ) from error
