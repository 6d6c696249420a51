"""The deletion ledger: one signed JSON line per deletion, each bound to the one before it.

    {"sequence": 0, "previous": "", "time": "2026-01-31T12:00:00Z", "request": "...",
     "grade": "excised", "step": 100, "commitments": ["..."], "input": "sha256 of its manifest",
     "output": "...", "report": "sha256 of the report", "format_version": 1, "signature": {...}}

`previous` is the sha256 of the preceding line, so that a line that is changed, removed or put
between others is noticed; lines taken from the end are noticed by whoever knows a later one, such
as a report. Sources are named by keyed commitments only: the ledger may leave the house, the list
of who asked to be deleted stays inside.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, Final

from nulls_dist.durable import sync_path
from nulls_dist.errors import IntegrityError
from nulls_dist.unlearn.signing import SigningKey, canonical_bytes, check_signature

FORMAT_VERSION: Final = 1

_MAX_LINE_BYTES: Final = 1 << 28


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """One deletion."""

    sequence: int
    """Place in the ledger, from 0."""
    previous: str
    """sha256 of the line before; empty in the first."""
    time: str
    """When, UTC, ISO 8601."""
    request: str
    """Id of the request."""
    grade: str
    step: int
    """Of the checkpoint."""
    commitments: tuple[str, ...]
    """Keyed commitments to the deleted sources, sorted."""
    input: str
    """sha256 of the manifest of the checkpoint that the sources were deleted from."""
    output: str
    """sha256 of the manifest of the checkpoint without them."""
    report: str
    """sha256 of the signed report's canonical JSON."""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerHead:
    """Where the next entry goes."""

    sequence: int
    previous: str


def read_ledger(path: Path) -> list[LedgerEntry]:
    """Read a ledger and check its chain and signatures.

    Raises:
        IntegrityError: a line is damaged, out of place, or signed by another key than the first.
    """
    with path.open("rb") as file:
        return [entry for entry, _, _ in _read_lines(file, path)]


@contextmanager
def locked_ledger(path: Path) -> Iterator["Ledger"]:
    """Open a ledger for appending, made where there is none; other writers wait.

    Raises:
        IntegrityError: the ledger is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        _drop_torn_line(file)
        yield Ledger(path, file)


class Ledger:
    """A ledger that is open for one entry.

    Attributes:
        head: what the next entry must be bound to.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        sequence, previous = 0, ""
        self._signer: str | None = None
        for entry, line, signer in _read_lines(file, path):
            sequence, previous = entry.sequence + 1, hashlib.sha256(line).hexdigest()
            self._signer = signer
        self.head = LedgerHead(sequence=sequence, previous=previous)

    def check_key(self, key: SigningKey) -> None:
        """Refuse to continue the ledger with another key than it was begun with.

        Raises:
            IntegrityError: the keys differ.
        """
        if self._signer is not None and self._signer != key.public_key:
            raise IntegrityError(
                f"{self._path} is signed by the key {self._signer}, this one is {key.public_key}; "
                "put the key it was begun with in its place, or name another directory (--records)"
            )

    def append(self, entry: LedgerEntry, key: SigningKey) -> None:
        """Write an entry to the end and sync it."""
        assert (entry.sequence, entry.previous) == (self.head.sequence, self.head.previous)
        content = asdict(entry)
        line = canonical_bytes({**content, "signature": key.sign(content)}) + b"\n"
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        sync_path(self._path.parent)


def _read_lines(file: IO[bytes], path: Path) -> Iterator[tuple[LedgerEntry, bytes, str]]:
    """Yield every entry with its line and the key that signed it."""
    previous, first_signer = "", None
    names = {entry.name for entry in fields(LedgerEntry)}
    for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES), b"")):
        place = f"{path}, line {number + 1}"
        content = _parse(line, place)
        signature = content.pop("signature", None)
        if set(content) != names or content["format_version"] != FORMAT_VERSION:
            raise IntegrityError(f"{place}: not an entry of format {FORMAT_VERSION}")
        signer = check_signature(content, signature, place=place)
        if content["sequence"] != number or content["previous"] != previous:
            raise IntegrityError(
                f"{place}: does not follow the line before it; lines were removed or moved"
            )
        if first_signer not in (None, signer):
            raise IntegrityError(f"{place}: signed by another key than the lines before")
        previous, first_signer = hashlib.sha256(line).hexdigest(), signer
        commitments = tuple(content.pop("commitments"))
        yield LedgerEntry(**content, commitments=commitments), line, signer


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{place}: not JSON: {error}") from error
    if not isinstance(content, dict) or not line.endswith(b"\n"):
        raise IntegrityError(f"{place}: not a whole line with a JSON object")
    return content


def _drop_torn_line(file: IO[bytes]) -> None:
    """Cut off a last line without an end: its writer died before anything relied on it."""
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)
    file.seek(0)
