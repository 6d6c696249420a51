"""Reads text files, each a source of its own with one document: books."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from data_prep.documents import Document, Item, Skipped
from data_prep.input_files import InputFiles
from data_prep.rows import MAX_TEXT_BYTES
from nulls_dist.errors import InputError

SUFFIXES: Final = (".txt",)
PART_BYTES: Final = 4 << 20

_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HTML: Final = ("<!doctype html", "<html")


@dataclass(frozen=True, slots=True)
class TextFiles:
    """Some files, each with its name."""

    named: tuple[tuple[str, Path], ...]

    def __call__(self) -> Iterator[Item]:
        """Yield the documents.

        Raises:
            InputError: a file is not UTF-8 text, is HTML, or is too long.
        """
        for name, path in self.named:
            text = _read(path)
            if not text.strip():
                yield Skipped(reason="empty text")
                continue
            yield Document(source_key=name, doc_index=0, title=path.stem, text=text)


def list_parts(files: InputFiles) -> list[TextFiles]:
    """Divide files into parts of a few megabytes."""
    parts: list[TextFiles] = []
    held: list[tuple[str, Path]] = []
    num_bytes = 0
    for path in files.paths:
        held.append((files.relative(path), path))
        num_bytes += path.stat().st_size
        if num_bytes >= PART_BYTES:
            parts.append(TextFiles(tuple(held)))
            held, num_bytes = [], 0
    return [*parts, TextFiles(tuple(held))] if held else parts


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise InputError(f"{path}: longer than {MAX_TEXT_BYTES} bytes; split it")
    if content.startswith(_UTF16):
        raise InputError(f"{path}: the file is UTF-16; save it as UTF-8")
    if (place := content.find(b"\0")) >= 0:
        raise InputError(f"{path}, byte {place + 1}: a NUL character; is it a text file?")
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, byte {error.start + 1}: not UTF-8; save it as UTF-8") from error
    if text[:64].lstrip().casefold().startswith(_HTML):
        raise InputError(f"{path}: HTML, not text; convert it or leave it out")
    return text.replace("\r\n", "\n")
