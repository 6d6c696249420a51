"""A row of a table (a JSON object, a row of Parquet) as a document.

The columns are those of Hugging Face's `wikimedia/wikipedia`: id, url, title, text. What the row
lacks is a count in the summary; what it holds of a wrong type is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from data_prep.documents import Document, Skipped
from nulls_dist.errors import InputError

ID_FIELD: Final = "id"
TEXT_FIELD: Final = "text"
MAX_TEXT_BYTES: Final = 256 << 20
"""Longest document: one is held in memory at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Which fields of a row are read."""

    text: str = TEXT_FIELD
    source_key: str | None = None
    """Names the row's source, which may have many rows; None makes every row a source of its own,
    known by its id."""

    @property
    def key(self) -> str:
        """The field that holds the source's key."""
        return self.source_key or ID_FIELD


def read_row(row: Mapping[str, Any], fields: Fields, place: str) -> Document | Skipped:
    """Return the document of a row.

    Args:
        row: its values by name.
        fields: which of them are read.
        place: file and row, for messages.

    Raises:
        InputError: the text is no string, or the key neither a string nor a whole number.
    """
    text, key = row.get(fields.text), row.get(fields.key)
    if text is None:
        return Skipped(reason=f"no field {fields.text!r}")
    if not isinstance(text, str):
        raise InputError(
            f"{place}: field {fields.text!r} is {_shown(text)}, not a string; name the field that "
            "holds the text with --text-field"
        )
    if key is None or key == "":
        return Skipped(reason=f"no field {fields.key!r}, which names the source")
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise InputError(
            f"{place}: field {fields.key!r} is {_shown(key)}, neither a string nor a whole number; "
            "name the field that tells the source with --source-key"
        )
    if (reason := find_flaw(text) or find_flaw(str(key))) is not None:
        return Skipped(reason=reason)
    key = str(key)
    if fields.source_key is not None:
        return Document(source_key=key, doc_index=0, title=key, text=text)
    title, url = _string(row, "title"), _string(row, "url")
    return Document(source_key=key, doc_index=0, title=title or key, text=text, url=url)


def find_flaw(text: str) -> str | None:
    """Return why a text cannot be a document, or None."""
    if not text.strip():
        return "empty text"
    if "\0" in text:
        return "NUL character in the text"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "lone surrogates: not Unicode text"
    return None


def _string(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) and find_flaw(value) is None else ""


def _shown(value: Any) -> str:
    return f"{str(value)[:40]!r} of type {type(value).__name__}"
