"""What the parts of a build cost by themselves, on the same pages and without a build around them.

bz2 and XML are the standard library's, tokenising is the tokenizer's own call. Cleaning is this
project's function from markup to text. What else a build does (limits, near-duplicates, files,
checksums, sorting) is its overhead.
"""

import bz2
import io
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from data_prep.documents import Document
from data_prep.mediawiki import Dump
from data_prep.signatures import open_signer
from data_prep.wikitext import LinkPrefixes, clean_wikitext
from data_prep.wikitext_limits import find_excess
from nulls_dist.data.tokenizer import open_tokenizer_file

ResultT = TypeVar("ResultT")


def measure_parts(dump: Path, tokenizer_file: Path) -> dict[str, float]:
    """Return CPU seconds of each part; holds the whole dump in memory.

    Args:
        dump: bz2.
        tokenizer_file: given to the build as well.

    Returns:
        "bz2", "xml", "cleaning", "tokenising"; beside them two that are no parts: "limits", the
        scan that finds pages which are left out, and "signing", which near-duplicates are found by.
    """
    seconds: dict[str, float] = {}

    def measure(name: str, work: Callable[[], ResultT]) -> ResultT:
        begin = time.process_time()
        result = work()
        seconds[name] = time.process_time() - begin
        return result

    content = measure("bz2", lambda: _unpack(dump))
    measure("xml", lambda: _parse(content))
    opened = Dump(dump)
    prefixes = LinkPrefixes.of_namespaces(opened.site.namespaces)
    markup = [item.text for item in opened.items() if isinstance(item, Document)]
    is_kept = measure("limits", lambda: [find_excess(text) is None for text in markup])
    kept = [text for text, keep in zip(markup, is_kept, strict=True) if keep]
    texts = measure("cleaning", lambda: [clean_wikitext(text, prefixes) for text in kept])
    tokenizer = open_tokenizer_file(tokenizer_file)
    measure("tokenising", lambda: [len(tokenizer.encode(text)) for text in texts])
    sign = open_signer()
    measure("signing", lambda: [len(sign(text)) for text in texts])
    return seconds


def _unpack(dump: Path) -> bytes:
    with bz2.open(dump) as file:
        return file.read()


def _parse(content: bytes) -> None:
    """Read XML as a reader must that keeps nothing."""
    events = ET.iterparse(io.BytesIO(content), events=("start", "end"))
    _, root = next(events)
    for event, element in events:
        if event == "end" and element.tag.endswith("page"):
            root.clear()
