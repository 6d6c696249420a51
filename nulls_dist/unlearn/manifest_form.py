"""The form of the manifests that `unlearn.manifests` writes, checked on those that come back.

Whoever sends manifests may send anything. A file is read only if it is regular and of bounded size,
and used only if every value in it has the one type, range and set of fields of the format. Whether
the values are true is for `unlearn.by_manifests` to say.
"""

import os
import re
import reprlib
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from nulls_dist.durable import parse_json
from nulls_dist.errors import IntegrityError
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.describe import FORMAT_VERSION

MAX_BYTES: Final = 1 << 25
"""The largest preset's manifests of one source have under 10 MB."""
_MAX_LEVELS: Final = 4
_MAX_SHOWN: Final = 100
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PAIR: Final = 2

_Rule = Callable[[Any], bool]
Form = dict[str, Any] | list[Any] | _Rule
"""An object of exactly these fields, a list of such items, or what a value must be."""


def _is_version(value: Any) -> bool:
    """The format's version."""
    return type(value) is int and value == FORMAT_VERSION


def _is_hash(value: Any) -> bool:
    """A sha256 in hexadecimal."""
    return type(value) is str and _SHA256.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    """A string."""
    return type(value) is str


def _is_flag(value: Any) -> bool:
    """True or false."""
    return type(value) is bool


def _is_count(value: Any) -> bool:
    """A whole number from 0 below 2^64."""
    return type(value) is int and 0 <= value <= NO_SOURCE


def _is_source_id(value: Any) -> bool:
    """The id of a source."""
    return type(value) is int and 0 <= value < NO_SOURCE


def _is_object(value: Any) -> bool:
    """An object of few levels."""
    return type(value) is dict and _is_shallow(value, _MAX_LEVELS)


def _is_shallow(value: Any, levels: int) -> bool:
    if type(value) not in (dict, list):
        return True
    items = value.values() if type(value) is dict else value
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in items)


def _is_range(value: Any) -> bool:
    """A pair [begin, end) of bytes."""
    return (
        type(value) is list
        and len(value) == _PAIR
        and all(_is_count(number) for number in value)
        and value[0] < value[1]
    )


def _is_path(value: Any) -> bool:
    """A path inside the checkpoint."""
    if type(value) is not str or "\0" in value or "\\" in value:
        return False
    path = PurePosixPath(value)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


_ORIGIN: Final[dict[str, Form]] = {
    "format_version": _is_version,
    "checkpoint_manifest_sha256": _is_hash,
    "router_sha256": _is_hash,
    "bucket_table_sha256": _is_hash,
}
PRIVATE_HASH: Final = "private_sources_sha256"
"""Of both manifests, where there are private sources."""
_BRIEF: Final[dict[str, Form]] = {
    "source_id": _is_source_id,
    "title": _is_text,
    "state": _is_text,
}
_SHARING: Final[dict[str, Form]] = {**_BRIEF, "num_slots": _is_count}

RUN_FORM: Final[dict[str, Form]] = {
    **_ORIGIN,
    "nulls_dist": _is_text,
    "step": _is_count,
    "router": _is_object,
    "model": _is_object,
    "corpus": _is_object,
    "num_sources": _is_count,
    "private_sources": [_is_source_id],
    "tombstones": [{"source_id": _is_source_id, "grade": _is_text, "seed": _is_count}],
    "files": [
        {
            "path": _is_path,
            "num_bytes": _is_count,
            "sha256": _is_hash,
            "num_rows": _is_count,
            "num_tokens": _is_count,
        }
    ],
}

SOURCE_FORM: Final[dict[str, Form]] = {
    **_ORIGIN,
    **_BRIEF,
    "source_key": _is_text,
    "aliases": [_is_text],
    "bucket": _is_count,
    "expert": _is_count,
    "private": _is_flag,
    "sinks": [[_is_count]],
    "files": [
        {
            "path": _is_path,
            "sha256": _is_hash,
            "tensors": [
                {
                    "tensor": _is_text,
                    "kind": _is_text,
                    "layer": _is_count,
                    "part": _is_text,
                    "dtype": _is_text,
                    "ranges": [_is_range],
                }
            ],
        }
    ],
    "overlap": {
        "num_slots": _is_count,
        "num_other_sources_of_expert": _is_count,
        "num_named": _is_count,
        "named": [_SHARING],
        "largest": [_SHARING],
        "num_twins": _is_count,
        "twins": [_BRIEF],
    },
}


def parse_manifest(content: bytes, form: dict[str, Form], *, place: str) -> dict[str, Any]:
    """Return a manifest that has the form.

    Args:
        content: of the file.
        form: RUN_FORM or SOURCE_FORM.
        place: file to name in errors.

    Raises:
        IntegrityError: it is not such JSON.
    """
    manifest = parse_json(content, place=place)
    if type(manifest) is dict and PRIVATE_HASH in manifest:
        form = {**form, PRIVATE_HASH: _is_hash}
    _check(manifest, form, place)
    return dict(manifest)


def read_regular(path: Path) -> bytes:
    """Read a file of at most `MAX_BYTES` that is no link, pipe or device.

    Raises:
        IntegrityError: it is missing, not such a file, or longer.
    """
    try:
        # O_NONBLOCK: a pipe without a writer would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise IntegrityError(f"{path}: missing, a link or not readable: {error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IntegrityError(f"{path}: not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise IntegrityError(f"{path}: longer than {MAX_BYTES} bytes, the most that is read")
    return content


def shown(value: Any) -> str:
    """Return a value for a message, cut where it is long or deep."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = _MAX_SHOWN
    text = short.repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _check(value: Any, form: Form, place: str) -> None:
    """Refuse a value that does not have the form.

    Raises:
        IntegrityError: it does not.
    """
    if isinstance(form, dict):
        if type(value) is not dict:
            raise IntegrityError(f"{place}: {shown(value)} is not an object")
        if missing := sorted(form.keys() - value.keys()):
            raise IntegrityError(f"{place}: lacks the fields {missing}")
        if unknown := sorted(value.keys() - form.keys()):
            raise IntegrityError(f"{place}: has fields beyond the format: {shown(unknown)}")
        for name, part in form.items():
            _check(value[name], part, f"{place}: {name}")
    elif isinstance(form, list):
        if type(value) is not list:
            raise IntegrityError(f"{place}: {shown(value)} is not a list")
        for item in value:
            _check(item, form[0], place)
    elif not form(value):
        rule = str(form.__doc__).rstrip(".")
        raise IntegrityError(f"{place}: {shown(value)} must be: {rule[0].lower()}{rule[1:]}")
