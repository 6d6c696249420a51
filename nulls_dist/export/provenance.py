"""provenance.json: what every export says of where it comes from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from nulls_dist.durable import record_file

PROVENANCE_FILE: Final = "provenance.json"


def record_tree(root: Path) -> list[dict[str, Any]]:
    """Return path, size and checksum of every file under a directory, sorted by path."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return [asdict(record_file(root, name)) for name in names]
