"""Forms in which names of sources are compared; a whole column of a source table at once.

The same functions fold the table and the requests, so two spellings agree wherever one rule makes
them equal. Arrays are Arrow string arrays, in chunks or whole. Most names are in their folded form
already, which one regular expression can tell; only the others are rewritten.
"""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

_INVISIBLE: Final = r"[\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}\x{feff}]"
"""Zero-width space, direction marks, joiner and byte-order mark, as they come with pasted text."""
_FOLDED_TITLE: Final = r"^[!-^`{-~][!-^`-~]*( [!-^`-~]+)*$"
"""ASCII in single spaces, without underscores, that begins with no small letter."""
_SCHEME: Final = "https://"
_PLAIN_URL: Final = r"^https://[!-\"$&-@\[-~]*(/[!-\"$&-~]*)?$"
"""ASCII without spaces, "%" and "#", the host without capitals."""


def fold_keys(names: Any) -> Any:
    """Return keys in Unicode's NFC, trimmed."""
    return pc.utf8_trim_whitespace(pc.utf8_normalize(names, form="NFC"))


def fold_titles(names: Any) -> Any:
    """Return titles as MediaWiki compares them.

    NFC; underscores and any white space are one space; the first letter's case does not matter.
    """
    return _fold_where(pc.invert(pc.match_substring_regex(names, _FOLDED_TITLE)), names, _any_title)


def fold_urls(names: Any) -> Any:
    """Return urls without scheme and fragment, percent-decoded, NFC, with underscores for spaces.

    The case of the host does not matter.
    """
    is_plain = pc.match_substring_regex(names, _PLAIN_URL)
    shortened = pc.binary_replace_slice(names, 0, len(_SCHEME), "")
    return _fold_where(pc.invert(is_plain), pc.if_else(is_plain, shortened, names), _any_url)


def _fold_where(mask: Any, names: Any, fold: Callable[[Any], Any]) -> Any:
    """Return names with those under a mask folded."""
    if not pc.any(mask).as_py():
        return names
    if isinstance(names, pa.ChunkedArray):  # which the function below does not take
        mask, names = mask.combine_chunks(), names.combine_chunks()
    return pc.replace_with_mask(names, mask, fold(pc.filter(names, mask)))


def _any_title(names: Any) -> Any:
    names = pc.utf8_normalize(names, form="NFC")
    names = pc.replace_substring_regex(names, pattern=_INVISIBLE, replacement="")
    names = pc.utf8_trim_whitespace(pc.replace_substring(names, "_", " "))
    names = pc.binary_join(pc.utf8_split_whitespace(names), " ")
    first = pc.utf8_upper(pc.utf8_slice_codeunits(names, 0, 1))
    return pc.binary_join_element_wise(first, pc.utf8_slice_codeunits(names, 1), "")


def _any_url(names: Any) -> Any:
    names = pc.replace_substring_regex(names, pattern=r"^\s*(?i:https?:)?//", replacement="")
    names = pc.replace_substring_regex(names, pattern=r"#.*$|\s+$", replacement="")
    names = _fold_where(pc.match_substring(names, "%"), names, _unquote)
    names = pc.replace_substring(pc.utf8_normalize(names, form="NFC"), " ", "_")
    host = pc.replace_substring_regex(names, pattern=r"(?s)/.*$", replacement="")
    path = pc.replace_substring_regex(names, pattern=r"^[^/]*", replacement="")
    return pc.binary_join_element_wise(pc.utf8_lower(host), path, "")


def _unquote(names: Any) -> Any:
    return pa.array([unquote(name) for name in names.to_pylist()], pa.string())
