"""Pickles, and other files that are code, in every place where a command reads a file.

Each makes a folder when it runs. None of them is ever loaded here.
"""

import gzip
import io
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
import torch
import yaml

from nulls_dist.benchmark.faults.hostile.case import CANARY, Case
from nulls_dist.benchmark.faults.hostile.configurations import released_config
from nulls_dist.benchmark.faults.hostile.ground import (
    CHECKPOINT,
    CORPUS,
    MANIFEST,
    REFUSED_RUN,
    REQUEST,
    Ground,
    forge,
    put,
)
from nulls_dist.checkpoint.format import (
    backbone_optimizer_file,
    backbone_weights_file,
    sink_optimizer_file,
    sink_weights_file,
)
from nulls_dist.data.format import SOURCES_FILE, partition_file
from nulls_dist.data.tokenizer import HF_FILE
from nulls_dist.errors import ConfigError, InputError, IntegrityError, UnknownSourceError
from nulls_dist.released.model_config import read_config
from nulls_dist.released.weights import WEIGHTS_FILE, tensor_shapes
from nulls_dist.retrieval.encoder import open_encoder
from nulls_dist.retrieval.index_files import IDS_FILE, NAMES_FILE, VECTORS_FILE, build_index

_REFUSED: Final = (InputError.exit_code, IntegrityError.exit_code)
_INDEX: Final = "index"


class _Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: str) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (self._canary,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a command reads a file."""

    what: str
    command: Callable[[Path], tuple[Any, ...]]
    """Of the case's folder."""
    write: Callable[[Path, bytes], None]
    """Puts contents there, below the case's folder."""
    says: str = ""
    """Name of the file, where it is read by itself."""
    inputs: tuple[Path, ...] = ()
    codes: tuple[int, ...] = _REFUSED
    leaves: tuple[str, ...] = ()


def pickle_cases(ground: Ground) -> Iterator[Case]:
    """Yield every payload in every place."""
    for place in [*_of_checkpoints(ground), *_of_corpora(ground), *_beside(ground)]:
        for what, make in PAYLOADS.items():
            folder = ground.folder(*place.inputs)
            place.write(folder, make(str(folder / CANARY)))
            yield Case(
                what=f"{place.what}: {what}",
                folder=folder,
                command=tuple(map(str, place.command(folder))),
                codes=place.codes,
                says=(place.says,),
                leaves=place.leaves,
            )


def _dumped(protocol: int) -> Callable[[str], bytes]:
    return lambda canary: pickle.dumps({"weight": _Payload(canary)}, protocol)


def _called(opcodes: str) -> Callable[[str], bytes]:
    """Return a maker of a pickle that is written by hand."""
    return lambda canary: opcodes.format(canary=canary).encode()


def _saved(save: Callable[[Any, Any], None]) -> Callable[[str], bytes]:
    def make(canary: str) -> bytes:
        content = io.BytesIO()
        save(content, _Payload(canary))
        return content.getvalue()

    return make


PAYLOADS: Final[dict[str, Callable[[str], bytes]]] = {
    "pickle, protocol 0": _dumped(0),
    "pickle, protocol 2": _dumped(2),
    "pickle, protocol 5": _dumped(5),
    "pickle by INST": _called("(V{canary}\nios\nmkdir\n."),
    "pickle by OBJ": _called("(cos\nmkdir\nV{canary}\no."),
    "a second pickle behind a harmless one": lambda canary: (
        pickle.dumps({"Title": 1}) + _dumped(4)(canary)
    ),
    "torch's archive": _saved(lambda file, payload: torch.save({"weight": payload}, file)),
    "torch's old format": _saved(
        lambda file, payload: torch.save(payload, file, _use_new_zipfile_serialization=False)
    ),
    "numpy's array of objects": _saved(
        lambda file, payload: np.save(file, np.array([payload], object), allow_pickle=True)
    ),
    "numpy's archive of objects": _saved(
        lambda file, payload: np.savez(file, weight=np.array([payload], object))
    ),
    "compressed pickle": lambda canary: gzip.compress(_dumped(5)(canary)),
    "YAML tag": lambda canary: f"!!python/object/apply:os.mkdir [{canary!r}]\n".encode(),
}
"""Name -> contents for the path of a folder to be made."""


def _of_checkpoints(ground: Ground) -> Iterator[Place]:
    def verify(folder: Path) -> tuple[Any, ...]:
        return "verify_checkpoint", folder / CHECKPOINT

    def strip(folder: Path) -> tuple[Any, ...]:
        options = ("--max-collateral", 1, "--out", folder / "out")
        return "strip_sources", folder / CHECKPOINT, folder / REQUEST, *options

    def resume(folder: Path) -> tuple[Any, ...]:
        return *_train(ground, folder), "--resume", folder / CHECKPOINT

    readers = {
        verify: (
            *(MANIFEST, "run.json", "data.json", SOURCES_FILE, ground.tokenizer),
            *(backbone_weights_file(0), sink_weights_file(0)),
            *(backbone_optimizer_file(0), sink_optimizer_file(0, 0)),
        ),
        strip: (MANIFEST, SOURCES_FILE, sink_weights_file(0), sink_optimizer_file(0, 0)),
        resume: (MANIFEST, "data.json", backbone_weights_file(0), backbone_optimizer_file(0)),
    }
    for reader, names in readers.items():
        for name in names:
            yield Place(
                what=f"{reader.__name__}: checkpoint's {name}",
                command=reader,
                write=partial(_forge_in, CHECKPOINT, name),
                says=name.rpartition("/")[2],
                inputs=(ground.checkpoint,),
                leaves=REFUSED_RUN if reader is resume else (),
            )


def _of_corpora(ground: Ground) -> Iterator[Place]:
    for name in (MANIFEST, partition_file(0), SOURCES_FILE, ground.tokenizer):
        yield Place(
            what=f"data_prep.verify: corpus's {name}",
            command=lambda folder: ("data_prep.verify", folder / CORPUS),
            write=partial(_forge_in, CORPUS, name),
            says=name.rpartition("/")[2],
            inputs=(ground.corpus,),
        )
    yield Place(
        what="pretrain: DeepSpeed's file",
        command=lambda folder: (*_train(ground, folder), "--ds-config", folder / "ds.json"),
        write=partial(_put_in, "ds.json"),
        says="ds.json",
        codes=(ConfigError.exit_code,),
    )
    yield Place(
        what="pretrain: list of private sources",
        command=lambda folder: (
            *(*_train(ground, folder), "--set"),
            f"sinks.private_sources={folder / REQUEST}",
        ),
        write=partial(_put_in, REQUEST),
        codes=(*_REFUSED, UnknownSourceError.exit_code),
        leaves=REFUSED_RUN,
    )
    tokenizer = ground.corpus / ground.tokenizer
    for kind, name in (("jsonl", "a.jsonl"), ("parquet", "a.parquet"), ("wikipedia", "a.xml.bz2")):
        yield _prepared(f"documents as {kind}", name, kind, name, tokenizer)
    for name in ("spm.model", "own.json"):
        yield _prepared(f"tokenizer {name}", name, "generated", "generated", name)


def _prepared(what: str, name: str, kind: str, source: str, tokenizer: Path | str) -> Place:
    """Return a place that data preparation reads."""

    def build(folder: Path) -> tuple[Any, ...]:
        documents = source if source == "generated" else folder / source
        options = ("--tokenizer", folder / tokenizer, "--out", folder / "out", "--workers", 1)
        return "data_prep.build", "--input", documents, "--format", kind, *options

    return Place(
        what=f"data_prep.build: {what}",
        command=build,
        write=partial(_put_in, name),
        says=name,
    )


def _beside(ground: Ground) -> Iterator[Place]:
    """Yield what is given to tools beside a checkpoint."""

    def strip(*options: str) -> Callable[[Path], tuple[Any, ...]]:
        return lambda folder: (
            *("strip_sources", folder / CHECKPOINT, "--max-collateral", 1, "--out", folder / "out"),
            *(folder / option if option in names else option for option in options),
        )

    names = (REQUEST, "manifests", "questions.jsonl")
    yield Place(
        what="strip_sources: list of sources",
        command=strip(REQUEST),
        write=partial(_put_in, REQUEST),
        inputs=(ground.checkpoint,),
        codes=(*_REFUSED, UnknownSourceError.exit_code),
    )
    yield Place(
        what="strip_sources: questions",
        command=strip(REQUEST, "--questions", "questions.jsonl"),
        write=partial(_put_in, "questions.jsonl"),
        says="questions.jsonl",
        inputs=(ground.checkpoint,),
    )
    for name in ("run.json", f"sources/{min(ground.named)}.json"):
        yield Place(
            what=f"strip_sources: manifests' {name}",
            command=strip("--manifest", "manifests"),
            write=partial(_put_in, f"manifests/{name}"),
            says=name,
            inputs=(ground.checkpoint, ground.manifests),
        )
    yield Place(
        what="verify_deletion: report.json",
        command=lambda folder: ("verify_deletion", folder / "report.json", folder / CHECKPOINT),
        write=partial(_put_in, "report.json"),
        says="report.json",
        inputs=(ground.checkpoint,),
    )
    index = ground.scratch / "pristine" / _INDEX
    build_index(ground.table, index, open_encoder("ngrams"))
    for name in (MANIFEST, IDS_FILE, VECTORS_FILE, NAMES_FILE):
        yield Place(
            what=f"generate: index's {name}",
            command=lambda folder: (
                *("generate", folder / CHECKPOINT, "prompt", "--max-new-tokens", 1),
                *("--index", folder / _INDEX),
            ),
            write=partial(_put_in, f"{_INDEX}/{name}"),
            inputs=(ground.checkpoint, index),
        )
    released = _write_release(ground.scratch / "pristine" / "released")
    for name, titles in (
        (WEIGHTS_FILE, "titles.json"),
        ("model_config.yaml", "titles.json"),
        ("titles.pkl", "titles.pkl"),
        ("titles.json", "titles.json"),
    ):
        yield Place(
            what=f"import_reference: {name}",
            command=lambda folder, titles=titles: (  # type: ignore[misc]
                *("import_reference", folder / "released", "--out", folder / "out"),
                *("--titles", folder / "released" / titles),
            ),
            write=partial(_put_in, f"released/{name}"),
            says=name,
            inputs=(released,),
        )


def _write_release(root: Path) -> Path:
    """Write the smallest released model, of zeros."""
    put(root / "model_config.yaml", yaml.safe_dump(released_config()))
    shapes = tensor_shapes(read_config(root))
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, root / WEIGHTS_FILE)
    put(root / "titles.json", '{"Title": 1}')
    vocabulary = tokenizers.models.WordLevel({"</s>": 0, "word": 1}, unk_token="word")
    tokenizers.Tokenizer(vocabulary).save(str(root / HF_FILE))
    return root


def _train(ground: Ground, folder: Path) -> tuple[Any, ...]:
    places = ("--data", ground.corpus, "--run-dir", folder / "run")
    return "nulls_dist.pretrain", "--preset", "nulls_tiny", *places


def _put_in(name: str, folder: Path, content: bytes) -> None:
    put(folder / name, content)


def _forge_in(root: str, name: str, folder: Path, content: bytes) -> None:
    if name == MANIFEST:
        put(folder / root / name, content)
    else:
        forge(folder / root, name, content)
