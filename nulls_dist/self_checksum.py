"""A manifest has the checksums of all other files, and one of itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nulls_dist.errors import IntegrityError

CHECKSUM_FIELD: Final = "checksum"


def checksum_of(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest's values, the checksum itself left out, as sorted JSON."""
    rest = {name: value for name, value in content.items() if name != CHECKSUM_FIELD}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest's JSON-ready values with the checksum among them."""
    return {**content, CHECKSUM_FIELD: checksum_of(content)}


def check_checksum(content: Mapping[str, Any], path: Path) -> None:
    """Compare a manifest that was read with its checksum.

    Raises:
        IntegrityError: they differ.
    """
    if content[CHECKSUM_FIELD] != checksum_of(content):
        raise IntegrityError(
            f"{path}: contents differ from the checksum in it; restore the file from a copy, or "
            "make the directory again"
        )
