"""Find, open and verify checkpoints."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nulls_dist.checkpoint.format import (
    MANIFEST_FILE,
    CheckpointManifest,
    read_manifest,
)
from nulls_dist.durable import FileRecord, check_file
from nulls_dist.errors import IntegrityError

_DTYPES: Final = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
HEADER_LENGTH_BYTES: Final = 8
"""A safetensors file begins with the length of its header."""
CHECKPOINTS_DIR: Final = "checkpoints"
"""Where a run's checkpoints lie in its directory."""
_STEP_NAME: Final = re.compile(r"step-(\d{8,})")


class TensorFile:
    """One safetensors file; `Checkpoint.tensors` compares its checksum before it is opened."""

    def __init__(self, path: Path) -> None:
        """Open a file; reads its header only.

        Raises:
            IntegrityError: the header is not valid.
        """
        try:
            self._file: Any = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise IntegrityError(f"{path}: not a safetensors file: {error}") from error
        _check_names(path)
        self.path = path

    def names(self) -> list[str]:
        """Return the tensors' names, sorted."""
        return sorted(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return tuple(self._file.get_slice(name).get_shape())

    def num_elements(self, name: str) -> int:
        """Return a tensor's number of elements without reading it."""
        return math.prod(self.shape(name))

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's type without reading it.

        Raises:
            IntegrityError: it is no floating-point type of the format.
        """
        code = self._file.get_slice(name).get_dtype()
        if code not in _DTYPES:
            raise IntegrityError(f"{self.path}: {name} is {code}, not one of {', '.join(_DTYPES)}")
        return _DTYPES[code]

    def read(self, name: str) -> Tensor:
        """Read a whole tensor.

        Raises:
            IntegrityError: there is none of that name.
        """
        try:
            tensor: Tensor = self._file.get_tensor(name)
        except SafetensorError as error:
            raise IntegrityError(f"{self.path}: no tensor {name!r}") from error
        return tensor

    def read_range(self, name: str, begin: int, end: int) -> Tensor:
        """Read elements [begin, end) of a one-dimensional tensor."""
        tensor: Tensor = self._file.get_slice(name)[begin:end]
        return tensor


def _check_names(path: Path) -> None:
    """Refuse a valid header that names a tensor twice: readers differ in which one they take."""

    def check(pairs: list[tuple[str, object]]) -> None:
        names = Counter(name for name, _ in pairs)
        for name, count in names.items():
            if count > 1:
                raise IntegrityError(f"{path}: its header has {name!r} twice")

    with path.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
        json.loads(file.read(length), object_pairs_hook=check)


class Checkpoint:
    """A checkpoint opened for reading; each file is verified when it is first used.

    Attributes:
        root: directory of the checkpoint.
        manifest: what it says of itself.
    """

    def __init__(self, root: Path) -> None:
        """Open a checkpoint.

        Raises:
            InputError: `root` is not a checkpoint.
            IntegrityError: the manifest is damaged.
        """
        self.root = root
        self.manifest: CheckpointManifest = read_manifest(root)
        self._records = {record.path: record for record in self.manifest.files}
        self._verified: set[str] = set()
        self._open: dict[str, TensorFile] = {}

    @property
    def files(self) -> list[str]:
        """Paths of all files but the manifest, relative, sorted."""
        return sorted(self._records)

    def path(self, name: str) -> Path:
        """Return a file's path after comparing its size and checksum, once.

        Raises:
            IntegrityError: the file is missing or differs from the manifest.
        """
        if name not in self._records:
            raise IntegrityError(f"{self.root / MANIFEST_FILE}: lists no file {name}")
        if name not in self._verified:
            check_file(self.root, self._records[name])
            self._verified.add(name)
        return self.root / name

    def tensors(self, name: str) -> TensorFile:
        """Open a safetensors file of the checkpoint, verified once."""
        if name not in self._open:
            self._open[name] = TensorFile(self.path(name))
        return self._open[name]

    def record(self, name: str) -> FileRecord:
        """Return the manifest's record of a file."""
        return self._records[name]

    def verify(self) -> Iterator[FileRecord]:
        """Compare every file with the manifest, yielding each record as it passes.

        Raises:
            IntegrityError: a file is missing, extra or differs.
        """
        found = {
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }
        extra = sorted(found - set(self._records) - {MANIFEST_FILE})
        if extra:
            raise IntegrityError(f"{self.root}: files that the manifest does not list: {extra}")
        for name in self.files:
            self.path(name)
            yield self._records[name]


def step_directory(run_dir: Path, step: int) -> Path:
    """Return the directory of a run's checkpoint."""
    return run_dir / CHECKPOINTS_DIR / f"step-{step:08d}"


def step_of_checkpoint(root: Path) -> int:
    """Return the step that the name of a run's checkpoint says."""
    name = _STEP_NAME.fullmatch(root.name)
    assert name, f"{root} is named by its step"
    return int(name[1])


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return a run's complete checkpoints, oldest first."""
    folder = run_dir / CHECKPOINTS_DIR
    if not folder.is_dir():
        return []
    found = [
        path
        for path in folder.iterdir()
        if _STEP_NAME.fullmatch(path.name) and (path / MANIFEST_FILE).is_file()
    ]
    return sorted(found, key=step_of_checkpoint)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file; equal tensors give equal bytes.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    mode = path.stat().st_mode  # save_file would leave a file that only its owner can read
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    try:
        save_file(ordered, path, metadata=metadata)
    except SafetensorError as error:  # so it calls a full disk, too
        raise OSError(f"{path}: {error}") from error
    path.chmod(mode)
