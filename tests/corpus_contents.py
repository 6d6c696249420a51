"""What a corpus holds, read back through its manifest, its source table and its tokenizer."""

import json
from pathlib import Path

from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import MANIFEST_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.durable import sha256_file
from nulls_dist.self_checksum import with_checksum


def read_texts(root: Path) -> dict[str, list[str]]:
    """Return the texts of each source, by its key, in the order of their numbers."""
    corpus = Corpus(root)
    tokenizer = load_tokenizer(root, corpus.manifest.tokenizer)
    table = SourceTable(root / "sources.parquet").table
    keys = dict(zip(table["source_id"].to_pylist(), table["source_key"].to_pylist(), strict=True))
    texts: dict[str, list[str]] = {}
    for number, source_id in enumerate(corpus.source_ids):
        text = tokenizer.decode(corpus.tokens(number)[:-1].tolist())
        texts.setdefault(keys[int(source_id)], []).append(text)
    return texts


def read_source_rows(root: Path) -> dict[str, dict]:
    """Return the rows of the source table by key."""
    rows = SourceTable(root / "sources.parquet").table.to_pylist()
    return {row["source_key"]: row for row in rows}


def digests(root: Path) -> dict[str, str]:
    """Return the checksum of every file below a folder."""
    return {
        str(path.relative_to(root)): sha256_file(path) for path in root.rglob("*") if path.is_file()
    }


def edit_manifest(root: Path, **changes: object) -> None:
    """Change fields of a manifest whose checksum stays right, as a wrong program would."""
    path = root / MANIFEST_FILE
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(with_checksum(content)))
