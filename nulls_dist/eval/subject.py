"""What is evaluated: a checkpoint or a release, with its tokenizer and the names of its sources."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nulls_dist.checkpoint.format import MANIFEST_FILE
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.tokenizer import HF_FILE, Tokenizer, load_tokenizer, open_tokenizer_file
from nulls_dist.durable import read_json
from nulls_dist.errors import ConfigError, InputError, IntegrityError, UnknownSourceError
from nulls_dist.eval.inference import InferenceModel, load_for_inference
from nulls_dist.export.provenance import PROVENANCE_FILE
from nulls_dist.export.release import tokenizer_record
from nulls_dist.hashing import U64Array
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.source_list import Means, parse_request
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.plan import open_sources
from nulls_dist.unlearn.resolve import find_sources


class Subject(ABC):
    """A model that answers.

    Attributes:
        root: its directory.
        tokenizer: the corpus's.
        eos_id: token that ends a document.
        context_length: tokens that the model was trained to see.
        survivors: ids of the sources whose sinks can serve, ascending; none where it has no sinks.
        trained_on: fingerprint of its corpus.
    """

    root: Path
    tokenizer: Tokenizer
    eos_id: int
    context_length: int
    survivors: U64Array
    trained_on: Mapping[str, Any]

    @abstractmethod
    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        """Return next-token logits, as `token_scores.LanguageModel` does.

        Raises:
            InputError: a release has no sinks to choose from.
            RefusedError: a source was deleted.
        """

    @abstractmethod
    def find_sources(self, names: Sequence[str]) -> list[int]:
        """Return the sources that names name, written as lines of sources.txt; also deleted ones.

        Raises:
            UnknownSourceError: a name is not that of one source.
        """

    def lacking(self, corpus: Corpus) -> U64Array:
        """Return the sources of a corpus whose sinks cannot serve: deleted or never trained on."""
        return np.setdiff1d(corpus.source_ids, self.survivors)

    def check_tokens(self, corpus: Corpus) -> None:
        """Refuse a corpus whose tokens mean something else to the model.

        Raises:
            InputError: it was made by another tokenizer.
        """
        ours = self.trained_on.get("tokenizer_sha256")
        if ours is not None and ours != corpus.manifest.tokenizer.sha256:
            raise InputError(
                f"{corpus.root} was made by another tokenizer than the corpus of {self.root}; "
                "build it with --tokenizer and the tokenizer file of the model"
            )


class _CheckpointSubject(Subject):
    def __init__(self, checkpoint: Checkpoint, model: InferenceModel) -> None:
        record = tokenizer_record(checkpoint)
        self.root = checkpoint.root
        self.tokenizer = load_tokenizer(checkpoint.root, record)
        self.eos_id = record.eos_id
        self.context_length = model.config.context_length
        self.trained_on = checkpoint.manifest.corpus
        self._table = open_sources(checkpoint)
        known = self._table.source_ids if model.config.has_sinks else np.empty(0, np.uint64)
        self.survivors = np.setdiff1d(known, checkpoint.manifest.deleted_ids)
        self._model = model

    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        return self._model.logits(texts, source_ids)

    def find_sources(self, names: Sequence[str]) -> list[int]:
        found = find_sources(self._table, names)
        return [entry.source_id for entry in found if entry.source_id is not None]


class _ReleaseSubject(Subject):
    """A release, run by transformers; the code of a routed one is that of this installation."""

    def __init__(self, root: Path) -> None:
        provenance, config = read_json(root / PROVENANCE_FILE), read_json(root / "config.json")
        self.root = root
        self.tokenizer = open_tokenizer_file(root / HF_FILE)
        try:
            self.eos_id = int(config["eos_token_id"])
            self.context_length = int(config["max_position_embeddings"])
            self.trained_on = dict(provenance["corpus"])
            self._is_routed = provenance["form"] == "routed"
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{root} is no whole release: {error}; convert again") from error
        self._device = select_accelerator(0).device
        self._model = _released_model(root, is_routed=self._is_routed).to(self._device).eval()
        named = self._model.sources.source_ids if self._is_routed else []
        self.survivors = np.asarray(named, np.uint64)

    @torch.no_grad()
    def logits(self, texts: Sequence[Sequence[int]], source_ids: Sequence[int]) -> list[Tensor]:
        if not self._is_routed and any(source_id != NO_SOURCE for source_id in source_ids):
            raise InputError(
                f"{self.root} is a release without sinks to choose from; ask in the state off, or "
                "ask the checkpoint or its routed release"
            )
        width = max(map(len, texts))
        batch = torch.tensor([[*text, *[self.eos_id] * (width - len(text))] for text in texts])
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(width) < lengths[:, None]).long()
        routed = [None if source_id == NO_SOURCE else source_id for source_id in source_ids]
        logits = self._model(
            input_ids=batch.to(self._device),
            attention_mask=mask.to(self._device),
            **({"source_ids": routed} if self._is_routed else {}),
        ).logits.cpu()
        return [rows[: len(text)] for rows, text in zip(logits, texts, strict=True)]

    def find_sources(self, names: Sequence[str]) -> list[int]:
        if not self._is_routed:
            raise InputError(f"{self.root} is a release that knows no sources; ask it without")
        return [self._find(name) for name in names]

    def _find(self, name: str) -> int:
        request = parse_request(name, line=1)
        try:
            if request.means is not Means.ID:
                return int(self._model.sources.find(request.name))
            self._model.sources.check(np.array([int(request.name)], np.uint64))
            return int(request.name)
        except (ValueError, OverflowError) as error:
            raise UnknownSourceError(f"{self.root}: source {name!r}: {error}") from error


def _released_model(root: Path, *, is_routed: bool) -> Any:
    try:
        from transformers import AutoModelForCausalLM
    except ModuleNotFoundError as error:
        raise ConfigError("a release needs transformers: pip install 'nulls-dist[hf]'") from error
    if not is_routed:
        return AutoModelForCausalLM.from_pretrained(
            root, dtype=torch.float32, local_files_only=True
        )
    from nulls_dist.export.routed_code.modeling_nulls import NullsForCausalLM

    return NullsForCausalLM.from_pretrained(root, dtype=torch.float32, local_files_only=True)


@contextmanager
def open_subject(root: Path) -> Iterator[Subject]:
    """Open a checkpoint or a release for the duration of a block.

    Nothing in the directory is executed.

    Args:
        root: directory of a checkpoint, or of what convert_to_hf.py made of one.

    Raises:
        ConfigError: a package that a release needs is not installed.
        InputError: `root` is neither.
        IntegrityError: it is damaged.
    """
    if (root / PROVENANCE_FILE).is_file():
        yield _ReleaseSubject(root)
    elif (root / MANIFEST_FILE).is_file():
        checkpoint = Checkpoint(root)
        with load_for_inference(root) as model:
            yield _CheckpointSubject(checkpoint, model)
    else:
        raise InputError(
            f"{root} is neither a checkpoint ({MANIFEST_FILE}) nor a release "
            f"({PROVENANCE_FILE}) of this project"
        )
