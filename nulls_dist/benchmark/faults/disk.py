"""A disk in memory: what a crash leaves of it is decided here.

Files and folders are nodes, and a folder maps names to nodes: a file keeps its contents when it is
renamed, and two names may mean one file.

What survives a power loss is what POSIX promises and no more: bytes of a file that fsync flushed
after they were written, names in a folder that fsync flushed after they were changed. Anything
else may be there or not, each change by itself; unflushed bytes may be there in part. A rename
inside one folder is atomic. After a process was killed everything it did is there.
Source: Pillai et al. 2014, "All File Systems Are Not Created Equal" (OSDI), section 2.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

_BLOCK: Final = 512
"""Bytes that reach a device together or not at all."""


class Node(NamedTuple):
    """A file or folder, whatever its names are."""

    number: int
    is_folder: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A file has other contents than before."""

    file: Node
    before: bytes
    after: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Renamed:
    """Names of one folder changed, all at once: one was added, removed or moved."""

    folder: Node
    removed: tuple[str, ...] = ()
    added: tuple[tuple[str, Node], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Flushed:
    """fsync of a file or folder returned."""

    node: Node


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledged:
    """Whoever asked for the change was told that it is done."""


Operation = Written | Renamed | Flushed | Acknowledged


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """Contents of a tree."""

    files: Mapping[Node, bytes]
    folders: Mapping[Node, Mapping[str, Node]]
    root: Node

    def apply(self, operations: Sequence[Operation]) -> "Disk":
        """Return the disk after some operations."""
        files = dict(self.files)
        folders = {node: dict(names) for node, names in self.folders.items()}
        for operation in operations:
            if isinstance(operation, Written):
                files[operation.file] = operation.after
            elif isinstance(operation, Renamed):
                names = folders.setdefault(operation.folder, {})
                for name in operation.removed:
                    names.pop(name, None)
                names.update(operation.added)
        return Disk(files=files, folders=folders, root=self.root)

    def write_to(self, target: Path) -> None:
        """Write the tree into a new directory.

        A file that has a name but was never written is empty; a folder likewise.
        """
        target.mkdir()
        self._write_folder(self.root, target)

    def _write_folder(self, folder: Node, target: Path) -> None:
        for name, child in self.folders.get(folder, {}).items():
            if child.is_folder:
                (target / name).mkdir()
                self._write_folder(child, target / name)
            else:
                (target / name).write_bytes(self.files.get(child, b""))


def unflushed(operations: Sequence[Operation]) -> list[int]:
    """Return the places of the operations that a power loss after the last one may undo."""
    waiting: dict[Node, list[int]] = {}
    for place, operation in enumerate(operations):
        if isinstance(operation, Written):
            waiting.setdefault(operation.file, []).append(place)
        elif isinstance(operation, Renamed):
            waiting.setdefault(operation.folder, []).append(place)
        elif isinstance(operation, Flushed):
            waiting.pop(operation.node, None)
    return sorted(place for places in waiting.values() for place in places)


def lose_power(operations: Sequence[Operation], draws: random.Random) -> list[Operation]:
    """Return what may be left of operations after a power loss: a random one of the many ways."""
    lost_at = set(unflushed(operations))
    left: list[Operation] = []
    for place, operation in enumerate(operations):
        if place not in lost_at:
            left.append(operation)
        elif draws.random() < 0.5:
            continue
        elif isinstance(operation, Written) and draws.random() < 0.5:
            left.append(replace(operation, after=_tear(operation, draws)))
        else:
            left.append(operation)
    return left


def _tear(written: Written, draws: random.Random) -> bytes:
    """Return new contents of which only some blocks, or only the beginning, arrived."""
    after = written.after
    if draws.random() < 0.5:
        return after[: draws.randint(0, len(after))]
    before = written.before.ljust(len(after), b"\0")
    blocks = range(0, len(after), _BLOCK)
    lost: Collection[int] = set(draws.sample(blocks, draws.randint(0, len(blocks))))
    return b"".join(
        (before if start in lost else after)[start : start + _BLOCK] for start in blocks
    )[: len(after)]
