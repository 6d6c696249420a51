"""The mapping from an article's title to its index, in any of three forms, read pair by pair.

*.json    one object: {"Alan Turing": 12, ...}
*.pkl     the release's own file: a pickle of one dict from strings to integers. It is not
          unpickled: its opcodes are read as data, and any other than such a dict's is refused.
others    UTF-8 text: one title per line, whose index is the number of lines before it

The file is mapped and parsed pair by pair, not read into memory.
"""

import json
import mmap
import pickletools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from nulls_dist.errors import InputError

Pairs = Iterator[tuple[str, int]]

_OPEN: Final = re.compile(rb"\s*\{\s*")
_PAIR: Final = re.compile(rb'\s*("(?:[^"\\]++|\\.)*+")\s*:\s*(\d{1,19})\s*([,}])')
_STRINGS: Final = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
_INTEGERS: Final = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG"})
_OF_ONE_DICT: Final = frozenset(
    {"PROTO", "FRAME", "EMPTY_DICT", "DICT", "MARK", "SETITEM", "SETITEMS", "STOP"}
    | {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"}
)


def read_titles(path: Path) -> Pairs:
    """Yield titles with their indices, in the order of the file.

    Raises:
        InputError: the file is missing, empty or in none of the forms.
    """
    if not path.is_file():
        raise InputError(f"titles file {path} does not exist")
    if not path.stat().st_size:
        raise InputError(f"{path}: holds no title")
    readers = {".json": _read_json, ".pkl": _read_pickle}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield from readers.get(path.suffix, _read_lines)(path, data)


def _read_lines(path: Path, data: mmap.mmap) -> Pairs:
    for index, line in enumerate(iter(data.readline, b"")):
        try:
            title = line.decode("utf-8-sig" if index == 0 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, line {index + 1}: not UTF-8: {error.reason}") from error
        yield title, index


def _read_json(path: Path, data: mmap.mmap) -> Pairs:
    found = _OPEN.match(data)
    while found:
        place = found.end()
        found = _PAIR.match(data, place)
        if found is None:
            raise InputError(
                f'{path}, byte {place}: not "TITLE": INDEX; the file must be one JSON object from '
                "titles to whole numbers"
            )
        try:
            title = json.loads(found[1])
        except ValueError as error:
            raise InputError(f"{path}, byte {place}: not a JSON string: {error}") from error
        yield title, int(found[2])
        if found[3] == b"}":
            if data[found.end() :].strip():
                raise InputError(f"{path}, byte {found.end()}: text after the object")
            return
    raise InputError(f"{path}: must be one JSON object from titles to whole numbers")


def _read_pickle(path: Path, data: mmap.mmap) -> Pairs:
    title: str | None = None
    end = 0
    try:
        for opcode, value, place in pickletools.genops(cast("IO[bytes]", data)):
            if opcode.name in _STRINGS and title is None:
                title = value
            elif opcode.name in _INTEGERS and title is not None and type(value) is int:
                yield title, value
                title = None
            elif opcode.name not in _OF_ONE_DICT:
                raise InputError(
                    f"{path}, byte {place}: {opcode.name} has no place in a pickle of a dict from "
                    "titles to whole numbers; it was not unpickled. Where you trust it, convert it "
                    "to JSON"
                )
            end = (place or 0) + 1
    except ValueError as error:
        raise InputError(f"{path}: not a whole pickle: {error}") from error
    if end < len(data):
        raise InputError(
            f"{path}, byte {end}: more follows after the pickle; nothing was unpickled"
        )
    if title is not None:
        raise InputError(f"{path}: {title!r} has no whole number; nothing was unpickled")
