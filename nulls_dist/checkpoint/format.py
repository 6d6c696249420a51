"""The checkpoint on disk: one format for resume, deletion and export.

    manifest.json                                  written last; everything below by name, with
                                                   its checksum, and a checksum of itself
    weights/backbone-part0000.safetensors          dense parameters, Megatron names; readers take
                                                   several parts, each tensor in one of them
    weights/sinks-expert-0007.safetensors          every layer of one sink expert
    optimizer/backbone-part0000.safetensors        fragments of fp32 master weights and moments
    optimizer/sinks-expert-0007-part0000.safetensors
    sources.parquet                                every source of the corpus, and of those before
                                                   it where training went on with another one
    tokenizer/                                     hard-linked from the corpus
    run.json                                       configuration, versions, topology at save
    data.json                                      the data cursor

A sink tensor is (num_sinks, hidden_size): one neuron per row for gate, up and down alike. An
optimizer tensor is one-dimensional float32 and named "kind/parameter@start": elements from `start`
of the flattened parameter (of one expert's part of it, in a sink file). Of a parameter that tensor
parallelism cut, it is named "kind/parameter[1/2]@start": elements of the flattened shard 1 of 2
(`checkpoint.sharding` says how they are cut). `FORMAT_VERSION` is checked on read.

The manifest says `private_sources` only where there are some: readers that do not know private
blocks refuse such a checkpoint, whose sinks they would look for in the wrong place. Likewise a
tombstone has `text_digests` only where the texts of its source are known.
"""

import base64
import re
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from nulls_dist.durable import FileRecord, read_versioned_json
from nulls_dist.errors import ConfigError, InputError, IntegrityError
from nulls_dist.hashing import U64Array
from nulls_dist.routing.kinds import open_router, spec_type
from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec
from nulls_dist.self_checksum import CHECKSUM_FIELD, check_checksum, with_checksum
from nulls_dist.sources import NO_SOURCE

_Record = TypeVar("_Record", FileRecord, RouterSpec)

FORMAT_VERSION: Final = 1
_MAX_STEPS: Final = 1 << 63
_PRIVATE_FIELD: Final = "private_sources"
_DIGESTS_FIELD: Final = "text_digests"
MANIFEST_FILE: Final = "manifest.json"
RUN_FILE: Final = "run.json"
DATA_FILE: Final = "data.json"
SOURCES_FILE: Final = "sources.parquet"
TOKENIZER_DIR: Final = "tokenizer"
WEIGHTS_DIR: Final = "weights"

OPTIMIZER_KINDS: Final = ("master", "exp_avg", "exp_avg_sq")
SINK_PARTS: Final = ("gate", "up", "down")

_BACKBONE_WEIGHTS: Final = re.compile(r"weights/backbone-part\d{4,}\.safetensors")
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_FRAGMENT_KEY: Final = re.compile(
    r"(master|exp_avg|exp_avg_sq)/([A-Za-z0-9_.]+)(?:\[(\d+)/([1-9]\d*)\])?@(\d+)"
)


class Grade(StrEnum):
    """How thoroughly a source was deleted."""

    SUPPRESSED = "suppressed"
    """Never routed again; its weights are still there."""
    EXCISED = "excised"
    """Its sinks' down rows are zero, gate and up are fresh initial values, moments are zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tombstone:
    """A deleted source."""

    source_id: int
    grade: Grade
    seed: int = 0
    """Seed of the fresh values that replaced gate and up rows, so that anyone can verify them."""
    text_digests: tuple[str, ...] = ()
    """Digests of the source's texts (xxh3-128, 32 hexadecimal digits each), ascending, where the
    corpus was at hand: no other source may bring these texts back."""

    def to_dict(self) -> dict[str, Any]:
        """Return the tombstone as JSON-ready values; without digests it has no field of them."""
        digests = {_DIGESTS_FIELD: list(self.text_digests)} if self.text_digests else {}
        return {
            "source_id": self.source_id,
            "grade": self.grade.value,
            "seed": self.seed,
            **digests,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointManifest:
    """Contents of manifest.json."""

    step: int
    """Optimizer steps taken."""
    model: dict[str, Any]
    """The model configuration, `vocab_size` resolved."""
    router: RouterSpec
    bucket_table: npt.NDArray[np.uint16]
    """(NUM_BUCKETS,) expert of each bucket, frozen when the run was created."""
    private_sources: tuple[int, ...] = ()
    """Sources that own sinks alone, ascending by id, frozen when the run was created."""
    corpus: dict[str, Any]
    """Fingerprint of the corpus the model was trained on."""
    tokenizer: dict[str, Any]
    """Tokenizer record of the corpus."""
    tombstones: tuple[Tombstone, ...]
    """Deleted sources, ascending by id."""
    files: tuple[FileRecord, ...]
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready values, its own checksum among them."""
        table = np.ascontiguousarray(self.bucket_table, dtype="<u2").tobytes()
        private = {_PRIVATE_FIELD: list(self.private_sources)} if self.private_sources else {}
        content = {
            "format_version": self.format_version,
            "step": self.step,
            "model": self.model,
            "router": self.router.to_dict(),
            "bucket_table": base64.b64encode(table).decode("ascii"),
            **private,
            "corpus": self.corpus,
            "tokenizer": self.tokenizer,
            "tombstones": [tombstone.to_dict() for tombstone in self.tombstones],
            "files": [asdict(record) for record in self.files],
        }
        return with_checksum(content)

    @property
    def deleted_ids(self) -> U64Array:
        """Ids of the sources with a tombstone, of either grade: (D,) uint64, ascending."""
        return np.array([entry.source_id for entry in self.tombstones], dtype=np.uint64)

    def build_router(self) -> Router:
        """Return the router of this checkpoint, its tombstones included."""
        deleted = self.deleted_ids.tolist()
        return open_router(self.router, self.bucket_table, deleted, self.private_sources)

    def build_live_router(self) -> Router:
        """Return the router without tombstones, which looks up deleted sources too."""
        return open_router(self.router, self.bucket_table, private_sources=self.private_sources)


def read_manifest(root: Path) -> CheckpointManifest:
    """Read and check a checkpoint's manifest.

    Raises:
        InputError: `root` is not a checkpoint.
        IntegrityError: the manifest is damaged or of an unknown version.
    """
    path = root / MANIFEST_FILE
    if not path.is_file():
        raise InputError(
            f"{root} is not a checkpoint: {MANIFEST_FILE} is missing; name a directory like "
            "RUN/checkpoints/step-00000100"
        )
    names = {entry.name for entry in fields(CheckpointManifest)} - {_PRIVATE_FIELD}
    content = read_versioned_json(
        path, version=FORMAT_VERSION, names=names, optional={_PRIVATE_FIELD, CHECKSUM_FIELD}
    )
    if CHECKSUM_FIELD in content:  # once not written
        check_checksum(content, path)
    try:
        table = _decode_table(content["bucket_table"])
        manifest = CheckpointManifest(
            step=_build_step(content["step"]),
            model=_typed(content["model"], dict),
            router=_build(spec_type(_typed(content["router"], dict)), content["router"]),
            bucket_table=table.astype(np.uint16),
            private_sources=_build_private(content.get(_PRIVATE_FIELD, [])),
            corpus=_typed(content["corpus"], dict),
            tokenizer=_typed(content["tokenizer"], dict),
            tombstones=tuple(_build_tombstone(entry) for entry in content["tombstones"]),
            files=tuple(_build(FileRecord, record) for record in content["files"]),
        )
    except (TypeError, KeyError, ValueError, ConfigError) as error:
        raise IntegrityError(f"{path}: {error}") from error
    num_experts = manifest.router.num_experts
    if len(table) != NUM_BUCKETS or not int(table.max()) < num_experts <= NUM_BUCKETS:
        raise IntegrityError(f"{path}: bucket_table does not fit num_experts ({num_experts})")
    _check_ascending(path, _PRIVATE_FIELD, list(manifest.private_sources))
    _check_ascending(path, "tombstones", [entry.source_id for entry in manifest.tombstones])
    _check_ascending(path, "files", sorted(record.path for record in manifest.files))
    try:
        manifest.build_live_router()
    except (ConfigError, OverflowError) as error:  # sizes beyond 64 bits
        raise IntegrityError(f"{path}: {error}") from error
    return manifest


def _decode_table(text: Any) -> npt.NDArray[np.uint16]:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<u2")
    except (TypeError, ValueError) as error:
        raise ValueError(f"bucket_table is no table: {error}") from error


def _build_step(value: Any) -> int:
    step: int = _typed(value, int)
    if not 0 <= step < _MAX_STEPS:
        raise ValueError(f"step ({step}) must be a number of optimizer steps")
    return step


def _typed(value: Any, kind: type) -> Any:
    """Return a value of exactly one JSON type (so that true is not 1)."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def _build(kind: type[_Record], content: Any) -> _Record:
    hints = get_type_hints(kind)
    values = _typed(content, dict)
    return kind(**{name: _declared(value, hints[name]) for name, value in values.items()})


def _declared(value: Any, hint: Any) -> Any:
    """Return a value of the type that a field declares."""
    if get_origin(hint) is not Literal:
        return _typed(value, hint)
    if value not in get_args(hint):
        raise ValueError(f"{value!r} is none of {get_args(hint)}")
    return value


def _build_tombstone(content: Any) -> Tombstone:
    digests = tuple(_typed(_typed(content, dict).get(_DIGESTS_FIELD, []), list))
    fields_read = {"grade": Grade(content["grade"]), _DIGESTS_FIELD: digests}
    tombstone = Tombstone(**{**content, **fields_read})
    if not 0 <= _typed(tombstone.source_id, int) < NO_SOURCE or type(tombstone.seed) is not int:
        raise ValueError(f"{tombstone} is not a tombstone")
    if not all(type(digest) is str and _DIGEST.fullmatch(digest) for digest in digests):
        raise ValueError(f"{_DIGESTS_FIELD} of source {tombstone.source_id} are no digests")
    if any(first >= second for first, second in pairwise(digests)):
        raise ValueError(f"{_DIGESTS_FIELD} of source {tombstone.source_id} are not ascending")
    return tombstone


def _build_private(content: Any) -> tuple[int, ...]:
    source_ids = tuple(_typed(number, int) for number in _typed(content, list))
    if any(not 0 <= number < NO_SOURCE for number in source_ids):
        raise ValueError(f"{_PRIVATE_FIELD} must be source ids")
    return source_ids


def _check_ascending(path: Path, what: str, keys: list[Any]) -> None:
    if any(first >= second for first, second in pairwise(keys)):
        raise IntegrityError(f"{path}: {what} are not ascending or occur twice")


def backbone_weights_file(part: int) -> str:
    """Return the weights file of one part of the dense parameters, relative to the checkpoint."""
    return f"{WEIGHTS_DIR}/backbone-part{part:04d}.safetensors"


def is_backbone_weights(path: str) -> bool:
    """Say whether a file of the checkpoint holds dense parameters."""
    return _BACKBONE_WEIGHTS.fullmatch(path) is not None


def sink_weights_file(expert: int) -> str:
    """Return the weights file of a sink expert."""
    return f"{WEIGHTS_DIR}/sinks-expert-{expert:04d}.safetensors"


def sink_optimizer_file(expert: int, part: int) -> str:
    """Return the optimizer file of one part of a sink expert."""
    return f"optimizer/sinks-expert-{expert:04d}-part{part:04d}.safetensors"


def backbone_optimizer_file(part: int) -> str:
    """Return the optimizer file of one part of the dense parameters."""
    return f"optimizer/backbone-part{part:04d}.safetensors"


def expert_of_file(path: str) -> int | None:
    """Return the sink expert a weights or optimizer file belongs to; None for other files."""
    found = re.search(r"/sinks-expert-(\d{4,})(-part\d+)?\.safetensors$", path)
    return int(found[1]) if found else None


def sink_tensor(layer: int, part: str) -> str:
    """Return the name of a sink parameter: part is gate, up or down."""
    assert part in SINK_PARTS
    return f"decoder.layers.{layer}.mlp.sinks.{part}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentKey:
    """The name of an optimizer tensor, taken apart."""

    kind: str
    """One of OPTIMIZER_KINDS."""
    name: str
    """Of the parameter."""
    start: int
    """First element inside the flattened parameter, or shard of it."""
    shard: int = 0
    num_shards: int = 1

    def __str__(self) -> str:
        shard = f"[{self.shard}/{self.num_shards}]" if self.num_shards > 1 else ""
        return f"{self.kind}/{self.name}{shard}@{self.start}"


def parse_fragment_key(key: str, path: Path) -> FragmentKey:
    """Take an optimizer tensor's name apart.

    Args:
        key: the name.
        path: file to name in errors.

    Raises:
        IntegrityError: the name has another form.
    """
    found = _FRAGMENT_KEY.fullmatch(key)
    if found is None:
        raise IntegrityError(f"{path}: optimizer tensor {key!r} is not named kind/parameter@start")
    kind, name, shard, num_shards, start = found.groups()
    parsed = FragmentKey(
        kind=kind,
        name=name,
        start=int(start),
        shard=int(shard or 0),
        num_shards=int(num_shards or 1),
    )
    if parsed.shard >= parsed.num_shards:
        raise IntegrityError(f"{path}: optimizer tensor {key!r}: there is no such shard")
    return parsed
