"""Compare the logits of a release with the checkpoint's.

The release is loaded by transformers in a fresh process without this project and without network,
as its users will load it; plain Llamas without remote code.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from nulls_dist.checkpoint.format import SOURCES_FILE
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import read_json, write_json
from nulls_dist.errors import IntegrityError
from nulls_dist.eval import released_logits
from nulls_dist.eval.inference import InferenceModel, load_for_inference
from nulls_dist.export.llama import DTYPES
from nulls_dist.sources import NO_SOURCE

TOLERANCE: Final = 1e-4
"""Of a logit, in units of the largest logit where that is above 1; both sides compute in float32,
with the weights as released."""

_LENGTHS: Final = (64, 33, 8, 1)
"""Tokens of the texts, or the model's context where that is shorter."""
_MAX_SHOWN: Final = 2000

logger = logging.getLogger(__name__)


def check_logits(root: Path, form: str, source_ids: Sequence[int], folder: Path) -> None:
    """Compare a release with its checkpoint on a few texts of random tokens.

    A routed release answers one batch in which each text has another source or none.

    Args:
        root: the checkpoint.
        form: of the release: backbone, merged or routed.
        source_ids: the merged sources.
        folder: the release.

    Raises:
        IntegrityError: it cannot be loaded, or a logit differs by more than `TOLERANCE`.
    """
    dtype = DTYPES[read_json(folder / "config.json")["dtype"]]
    with load_for_inference(root) as ours:
        ours.round_weights(dtype)
        texts = _random_texts(ours)
        states = [NO_SOURCE] * len(texts)
        if form == "routed":
            states[1:] = _some_survivors(root, len(texts) - 1)
        merged = form == "merged"
        expected = ours.union_logits(texts, source_ids) if merged else ours.logits(texts, states)
    routed_ids = [None if state == NO_SOURCE else state for state in states]
    request = {
        "texts": texts,
        "trust_remote_code": form == "routed",
        "arguments": {"source_ids": routed_ids} if form == "routed" else {},
    }
    found = _logits_in_fresh_process(folder, request)
    _compare(folder, found, expected)


def _random_texts(model: InferenceModel) -> list[list[int]]:
    draws = np.random.default_rng(0)
    lengths = [min(length, model.config.context_length) for length in _LENGTHS]
    return [draws.integers(0, model.config.vocab_size, length).tolist() for length in lengths]


def _some_survivors(root: Path, num: int) -> list[int]:
    """Return sources that were not deleted, evenly spaced; none stands for a missing one."""
    checkpoint = Checkpoint(root)
    everyone = SourceTable(checkpoint.path(SOURCES_FILE)).source_ids
    survivors = np.setdiff1d(everyone, checkpoint.manifest.deleted_ids)
    chosen = survivors[np.linspace(0, len(survivors) - 1, min(num, len(survivors))).astype(int)]
    return [*map(int, chosen), *[NO_SOURCE] * (num - len(chosen))]


def _logits_in_fresh_process(folder: Path, request: dict[str, Any]) -> list[Tensor]:
    with TemporaryDirectory() as scratch:
        asked, answer = Path(scratch, "request.json"), Path(scratch, "logits.safetensors")
        write_json(asked, request)
        script = [sys.executable, "-I", released_logits.__file__]
        done = subprocess.run(
            [*script, folder, asked, answer],
            env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": f"{scratch}/modules"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise IntegrityError(
                f"{folder}: transformers cannot run the release: {done.stderr[-_MAX_SHOWN:]}"
            )
        logits = load_file(answer)
    return [logits[str(number)] for number in range(len(request["texts"]))]


def _compare(folder: Path, found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    largest = max(float(logits.abs().max()) for logits in expected)
    difference = max(
        float((theirs - ours).abs().max()) for theirs, ours in zip(found, expected, strict=True)
    )
    logger.info(
        "logits of %d texts differ from the checkpoint's by at most %.2g (largest logit %.3g)",
        len(found),
        difference,
        largest,
    )
    if not difference <= TOLERANCE * max(1.0, largest):  # also where one is not a number
        raise IntegrityError(
            f"{folder}: logits differ from the checkpoint's by {difference:.3g}, more than "
            f"{TOLERANCE} of the largest, {largest:.3g}; nothing was published"
        )
