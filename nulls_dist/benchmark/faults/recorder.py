"""Record what a piece of code does to the files of a tree, whatever library does it.

The tree is compared with what it was around every call that changes names or flushes. So the bytes
that native code wrote are seen as well, at the next such call; changes that fall between two calls
count as made one after another, names before contents.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from nulls_dist.benchmark.faults.disk import (
    Acknowledged,
    Disk,
    Flushed,
    Node,
    Operation,
    Renamed,
    Written,
)

_CALLS: Final = ("mkdir", "rmdir", "link", "symlink", "rename", "replace", "unlink", "remove")
_FLUSHES: Final = ("fsync", "fdatasync")


class Recorder:
    """Observes one tree of small files.

    Attributes:
        start: the tree before anything was recorded, all of it flushed.
        operations: what happened since, in order.
    """

    def __init__(self, root: Path) -> None:
        """Look at the tree."""
        self._root = root
        self._nodes: dict[int, Node] = {}
        """By inode number, which the file system uses again."""
        self._count = 0
        self.start = self._now = self._look()
        self.operations: list[Operation] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what happens in a block."""
        with ExitStack() as stack:
            for name in _CALLS:
                stack.enter_context(patch.object(os, name, self._observed(getattr(os, name))))
            for name in _FLUSHES:
                stack.enter_context(patch.object(os, name, self._flushed(getattr(os, name))))
            yield
        self._observe()

    def acknowledge(self) -> None:
        """Record that the change is done."""
        self._observe()
        self.operations.append(Acknowledged())

    def _observed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*arguments: Any, **options: Any) -> Any:
            self._observe()
            result = call(*arguments, **options)
            self._observe()
            return result

        return observed

    def _flushed(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def flushed(descriptor: int) -> None:
            self._observe()
            call(descriptor)
            node = self._nodes.get(os.fstat(descriptor).st_ino)
            if node is not None:  # of this tree
                self.operations.append(Flushed(node=node))

        return flushed

    def _observe(self) -> None:
        """Record how the tree differs from what it was."""
        before, now = self._now, self._look()
        for folder, names in now.folders.items():
            self.operations += _renames(folder, before.folders.get(folder, {}), names)
        for file, content in now.files.items():
            old = before.files.get(file, b"")
            if content != old:
                self.operations.append(Written(file=file, before=old, after=content))
        self._now = now

    def _look(self) -> Disk:
        files: dict[Node, bytes] = {}
        folders: dict[Node, dict[str, Node]] = {}
        seen: dict[int, Node] = {}
        root = self._node(self._root, seen)
        for path, folder_names, file_names in os.walk(self._root):
            here = folders.setdefault(self._node(Path(path), seen), {})
            for name in sorted((*folder_names, *file_names)):
                child = Path(path) / name
                here[name] = node = self._node(child, seen)
                if not node.is_folder and node not in files:
                    files[node] = child.read_bytes()
        self._nodes = seen
        return Disk(files=files, folders=folders, root=root)

    def _node(self, path: Path, seen: dict[int, Node]) -> Node:
        """Return the node that a name means; an inode that was away counts as a new one."""
        status = path.lstat()
        if status.st_ino not in seen:
            known = self._nodes.get(status.st_ino)
            if known is None:
                self._count += 1
                known = Node(number=self._count, is_folder=stat.S_ISDIR(status.st_mode))
            seen[status.st_ino] = known
        return seen[status.st_ino]


def _renames(folder: Node, before: Mapping[str, Node], now: Mapping[str, Node]) -> list[Renamed]:
    """Return the changes of a folder's names: moves first, each a change of its own."""
    gone = {node: name for name, node in before.items() if now.get(name) != node}
    changes = []
    for name, node in now.items():
        if before.get(name) == node:
            continue
        moved = gone.pop(node, None)
        removed = (moved,) if moved is not None and moved not in now else ()
        changes.append(Renamed(folder=folder, removed=removed, added=((name, node),)))
    changes += [
        Renamed(folder=folder, removed=(name,)) for name in gone.values() if name not in now
    ]
    return changes
