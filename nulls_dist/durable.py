"""Files and directories that appear whole or not at all.

A file is written beside its final name, synced and renamed. A directory is built under a dot-name,
every file synced, then renamed: whoever sees the final name sees finished contents. Nothing here
overwrites a directory.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from nulls_dist.errors import InputError, IntegrityError, LockedError, NullsError

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 22
TEMPORARY_PATTERN: Final = ".*.tmp"
"""Names of files that are being written; whoever is killed leaves one."""
PARTIAL_PATTERN: Final = ".*.partial"
"""Names of directories that are being built, or taken away."""


def sha256_file(path: Path) -> str:
    """Return the hexadecimal sha256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync_path(path: Path) -> None:
    """Flush a file's contents, or a directory's entries, to the device."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and those above it where they are missing, so that a power loss spares them.

    Raises:
        OSError: it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_path(folder.parent)


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a name to write under; when the block ends without an error, `path` is that file."""
    # Several nodes may write the same file: their process ids are not enough to tell them apart.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        sync_path(temporary)
        temporary.replace(path)
        sync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` so that a reader sees the old file or the new one."""
    with replaced_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by UTF-8 text, atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by indented JSON with sorted keys (equal content gives equal bytes)."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file, refusing duplicate keys and non-finite numbers.

    Raises:
        IntegrityError: the file is missing or is not such JSON.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(f"{path}: file is missing") from None
    except OSError as error:
        raise IntegrityError(f"{path}: not readable as JSON: {error}") from error
    return parse_json(content, place=str(path))


def parse_json(content: bytes, *, place: str) -> Any:
    """Parse JSON as `read_json` does.

    Args:
        content: UTF-8.
        place: file to name in errors.

    Raises:
        IntegrityError: it is not such JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice = sorted(name for name, count in counts.items() if count > 1)
            raise ValueError(f"duplicate keys {twice}")
        return content

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not a JSON number")

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else refuse(number)

    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=refuse,
            parse_float=finite,
        )
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{place}: not readable as JSON: {error}") from error


def read_versioned_json(
    path: Path, *, version: int, names: Collection[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """Read a JSON object that states its format's version and has exactly the named fields.

    Args:
        path: of the file.
        version: of its format.
        names: fields it must have.
        optional: fields it may have as well.

    Raises:
        IntegrityError: it is not such an object.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format_version") != version:
        raise IntegrityError(f"{path}: format_version must be {version}")
    missing = sorted(set(names) - set(content))
    unknown = sorted(set(content) - set(names) - set(optional))
    if missing or unknown:
        raise IntegrityError(
            f"{path}: fields differ from the format (missing {missing}, unknown {unknown}); is it "
            "a directory of another kind?"
        )
    return content


def check_absent(path: Path) -> None:
    """Refuse to write over something that exists.

    Raises:
        InputError: `path` exists.
    """
    if path.exists():
        raise InputError(f"{path} exists already and is never overwritten; name another output")


def check_outside(path: Path, root: Path) -> None:
    """Refuse to write into a directory that is an input.

    Raises:
        InputError: `path` is `root` or lies inside it.
    """
    if path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{path} lies inside {root}, which is not touched; name another")


@contextlib.contextmanager
def new_directory(final: Path) -> Iterator[Path]:
    """Yield a directory to fill; publish it as `final` when the block ends without an error.

    On an error the partial directory is removed and `final` does not appear.

    Raises:
        InputError: `final` exists.
        LockedError: another process is building `final`.
    """
    check_absent(final)
    make_directory(final.parent)
    with _locked(final):
        check_absent(final)  # another writer may have published it before this one had the lock
        partial = partial_directory(final)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            publish_directory(partial, final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


BEGUN_FILE: Final = "begun.json"
"""Lies in an unfinished directory and says what it was begun with."""


@contextlib.contextmanager
def resumable_directory(final: Path, plan: dict[str, Any]) -> Iterator[Path]:
    """Yield a directory to fill as `new_directory` does, or what a killed process left of it.

    An error of the user removes it. Any other end (a kill, an interrupt, a full disk) leaves it,
    and the next call with the same plan yields it again.

    Args:
        final: where it appears when the block ends without an error.
        plan: JSON-ready; everything that the contents depend on.

    Raises:
        InputError: `final` exists, or an unfinished directory was begun with another plan.
        LockedError: another process is building `final`.
    """
    check_absent(final)
    make_directory(final.parent)
    with _locked(final):
        check_absent(final)
        partial = partial_directory(final)
        _begin(partial, plan)
        try:
            yield partial
            _sync_tree(partial)  # while it can still be continued
            (partial / BEGUN_FILE).unlink()
            publish_directory(partial, final)
        except NullsError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        except BaseException:
            logger.warning("%s is unfinished: run the same again to continue it", partial)
            raise


def _begin(partial: Path, plan: dict[str, Any]) -> None:
    if not (partial / BEGUN_FILE).exists():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_json(partial / BEGUN_FILE, plan)
        return
    begun = read_json(partial / BEGUN_FILE)
    names = sorted({*begun, *plan})
    differing = [name for name in names if begun.get(name) != plan.get(name)]
    if differing:
        changes = "; ".join(
            f"{name} was {begun.get(name)!r}, now {plan.get(name)!r}" for name in differing
        )
        raise InputError(
            f"{partial} is unfinished and was begun differently: {changes}; give the same to "
            "continue it, or remove it to begin anew"
        )
    logger.info("continuing %s", partial)
    for stray in partial.rglob(TEMPORARY_PATTERN):  # files that were being written
        stray.unlink()


@contextlib.contextmanager
def _locked(final: Path) -> Iterator[None]:
    """Hold the lock file beside `final`; the kernel lets go of it when the process dies.

    Raises:
        LockedError: another process holds it.
    """
    path = final.with_name(f".{final.name}.lock")
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"another process is writing {final}; wait for it to end") from None
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s: cannot be locked (%s); run only one writer", path, error.strerror)
        if not _is_open_file(path, file.fileno()):
            raise LockedError(f"another process has just written {final}; look at its result")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # without locks another writer may have removed it


def _is_open_file(path: Path, descriptor: int) -> bool:
    """Say whether `path` still names the open file: its last holder removes a lock file."""
    return path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))


def partial_directory(final: Path) -> Path:
    """Return the dot-name under which `final` is built."""
    return final.with_name(f".{final.name}.partial")


def publish_directory(partial: Path, final: Path) -> None:
    """Sync everything under `partial` and rename it to `final`.

    Raises:
        InputError: `final` appeared in the meantime.
    """
    _sync_tree(partial)
    check_absent(final)
    partial.rename(final)
    sync_path(final.parent)


def _sync_tree(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            sync_path(Path(folder) / name)
        sync_path(Path(folder))


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link `source` as `target`; copy where the file system cannot link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """One file of a corpus or checkpoint as its manifest records it."""

    path: str
    """Relative to the directory of the manifest, with forward slashes."""
    num_bytes: int
    sha256: str
    num_rows: int = 0
    """Documents of a partition, sources of a source table, 0 otherwise."""
    num_tokens: int = 0


def record_file(root: Path, path: str, *, num_rows: int = 0, num_tokens: int = 0) -> FileRecord:
    """Measure a file under `root` for its manifest."""
    return FileRecord(
        path=path,
        num_bytes=(root / path).stat().st_size,
        sha256=sha256_file(root / path),
        num_rows=num_rows,
        num_tokens=num_tokens,
    )


def find_file(root: Path, record: FileRecord) -> Path:
    """Return the path of a recorded file after comparing its size, without reading it.

    Raises:
        IntegrityError: the record points outside `root`, or the file is missing, reached through a
            link or of another size.
    """
    relative = PurePosixPath(record.path)
    outside = relative.is_absolute() or ".." in relative.parts or not relative.parts
    if outside or "\0" in record.path:
        raise IntegrityError(
            f"{root}: manifest names a file outside its directory: {record.path!r}"
        )
    path = root / relative
    if not path.is_file() or path.resolve() != root.resolve() / relative:
        raise IntegrityError(f"{path}: file is missing, a link or not a regular file")
    size = path.stat().st_size
    if size != record.num_bytes:
        raise IntegrityError(f"{path}: {size} bytes, but the manifest says {record.num_bytes}")
    return path


def check_file(root: Path, record: FileRecord) -> Path:
    """Return the path of a recorded file after comparing size and checksum.

    Raises:
        IntegrityError: as `find_file`, or the contents differ.
    """
    path = find_file(root, record)
    if sha256_file(path) != record.sha256:
        raise IntegrityError(f"{path}: contents differ from the checksum in the manifest")
    return path
