"""The files that --input names: one, all of a kind in a folder, or those of a pattern."""

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nulls_dist.durable import sha256_file
from nulls_dist.errors import InputError


@dataclass(frozen=True, slots=True)
class InputFiles:
    """Files in the order of their names."""

    folder: Path
    """What the files' names are relative to."""
    paths: tuple[Path, ...]
    name: str
    """What a corpus of them is called unless the user says otherwise."""

    def relative(self, path: Path) -> str:
        """Return the name of a file, the same wherever the folder lies."""
        return path.relative_to(self.folder).as_posix()

    def describe(self) -> dict[str, Any]:
        """Return what identifies the contents: names and bytes."""
        digests = {self.relative(path): sha256_file(path) for path in self.paths}
        lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
        return {
            "num_files": len(self.paths),
            "num_bytes": sum(path.stat().st_size for path in self.paths),
            "sha256sums": hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest(),
        }


def find_files(given: str, suffixes: Sequence[str]) -> InputFiles:
    """Return the files that the user names, sorted.

    Args:
        given: a file, a folder, which is searched with all folders in it, or a pattern with *, ?,
            [ or **.
        suffixes: how files in a folder end that are read.

    Raises:
        InputError: there is no such file.
    """
    path = Path(given)
    if path.is_file():
        return InputFiles(path.parent, (path,), path.name.partition(".")[0])
    if path.is_dir():
        found = [
            file
            for file in path.rglob("*")
            if file.is_file() and file.name.endswith(tuple(suffixes)) and not _is_hidden(file, path)
        ]
        what = f"no file that ends in {' or '.join(suffixes)}"
        folder = path
    else:
        found = [Path(name) for name in glob.glob(given, recursive=True) if Path(name).is_file()]
        what = "does not exist and matches no file"
        folder = _fixed_part(path)
    if not found:
        raise InputError(f"--input {given}: {what}; name a file, a folder or a pattern")
    return InputFiles(folder, tuple(sorted(found)), folder.resolve().name)


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _fixed_part(pattern: Path) -> Path:
    """Return the folder of a pattern: what stands before its first wildcard."""
    parts = []
    for part in pattern.parent.parts:
        if any(char in part for char in "*?["):
            break
        parts.append(part)
    return Path(*parts)
