"""Whole inputs of all commands, and a folder with copies of them for each case.

Copies are hard links: who changes a file replaces it, and what a command wrote into an input would
be found in the next case too.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.faults.hostile.case import Case
from nulls_dist.benchmark.faults.workshop import Workshop, train_undisturbed
from nulls_dist.benchmark.generated import draw_sources
from nulls_dist.checkpoint.store import Checkpoint, step_directory
from nulls_dist.data.format import SOURCES_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import record_file
from nulls_dist.self_checksum import with_checksum
from nulls_dist.unlearn.manifests import write_manifests

MANIFEST: Final = "manifest.json"
CHECKPOINT: Final = "checkpoint"
CORPUS: Final = "corpus"
REQUEST: Final = "sources.txt"

_STEPS: Final = 2
_NUM_NAMED: Final = 2

REFUSED_RUN: Final = ("run", "run/.lock", "run/outcome")
"""What a run that trained nothing leaves, for whoever started it."""

Change = Callable[[Path], None]
"""Makes an input hostile; takes the root of what is changed."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where cases take place."""

    scratch: Path
    """What is not inside a case's folder."""
    checkpoint: Path
    corpus: Path
    manifests: Path
    """Of the sources that are named."""
    table: SourceTable
    named: list[int]
    """Sources that `REQUEST` names."""
    tokenizer: str
    """File of checkpoint and corpus."""
    numbers: "count[int]"
    """Of cases."""

    def folder(self, *inputs: Path) -> Path:
        """Make a case's folder with the named inputs in it."""
        folder = self.scratch / f"case-{next(self.numbers)}"
        folder.mkdir()
        for path in inputs:
            shutil.copytree(path, folder / path.name, copy_function=os.link)
        titles = self.table.titles_of(self.named)
        (folder / REQUEST).write_text("".join(f"title:{title}\n" for title in titles))
        return folder

    def on_checkpoint(
        self, what: str, tool: str, change: Change, code: int, says: tuple[str, ...] = ()
    ) -> Case:
        """Return a case of a tool on a changed checkpoint."""
        folder = self.folder(self.checkpoint)
        root = folder / CHECKPOINT
        change(root)
        rest: dict[str, tuple[Any, ...]] = {
            "verify_checkpoint": (root,),
            "strip_sources": (root, folder / REQUEST, "--max-collateral", 1, "--out", folder / "o"),
            "nulls_dist.pretrain": (
                *("--preset", "nulls_tiny", "--data", self.corpus, "--run-dir", folder / "run"),
                *("--resume", root, "--set", f"train.steps={_STEPS + 1}"),
            ),
        }
        command = (tool, *map(str, rest[tool]))
        leaves = REFUSED_RUN if tool == "nulls_dist.pretrain" else ()
        return Case(
            what=f"{tool}: {what}",
            folder=folder,
            command=command,
            codes=(code,),
            says=says,
            leaves=leaves,
        )

    def on_corpus(self, what: str, change: Change, code: int, says: tuple[str, ...] = ()) -> Case:
        """Return a case of the verification of a changed corpus."""
        folder = self.folder(self.corpus)
        change(folder / CORPUS)
        command = ("data_prep.verify", str(folder / CORPUS))
        return Case(
            what=f"data_prep.verify: {what}",
            folder=folder,
            command=command,
            codes=(code,),
            says=says,
        )


def open_ground(shop: Workshop) -> Ground:
    """Train for a moment and copy what is needed."""
    settings = {"train.steps": _STEPS, "train.save_every": _STEPS}
    train_undisturbed(shop, "run-for-hostile-files", settings, num_ranks=1)
    saved = step_directory(shop.work / "run-for-hostile-files", _STEPS)
    scratch = shop.work / "hostile"
    pristine = scratch / "pristine"
    # Copies: the two share the tokenizer's file by a hard link.
    checkpoint = shutil.copytree(saved, pristine / CHECKPOINT)
    corpus = shutil.copytree(shop.corpus, pristine / CORPUS)
    table = SourceTable(corpus / SOURCES_FILE)
    named = draw_sources(table.source_ids, seed=0)[:_NUM_NAMED]
    opened = Checkpoint(checkpoint)
    write_manifests(opened, table, pristine / "manifests", named=named)
    return Ground(
        scratch=scratch,
        checkpoint=checkpoint,
        corpus=corpus,
        manifests=pristine / "manifests",
        table=table,
        named=named,
        tokenizer=str(opened.manifest.tokenizer["file"]),
        numbers=count(),
    )


def put(path: Path, content: bytes | str) -> None:
    """Replace a file, so that links to it keep the old contents."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the values of a manifest and make its checksum of itself agree, as a forger would."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    put(path, json.dumps(with_checksum(content) if "checksum" in content else content))


def forge(root: Path, name: str, content: bytes | str) -> None:
    """Replace a file of a checkpoint or corpus and make the manifest agree, as a forger would."""
    put(root / name, content)

    def agree(manifest: dict[str, Any]) -> None:
        (record,) = (record for record in manifest["files"] if record["path"] == name)
        measured = asdict(record_file(root, name))
        record.update(num_bytes=measured["num_bytes"], sha256=measured["sha256"])
        if manifest["tokenizer"]["file"] == name:
            manifest["tokenizer"]["sha256"] = measured["sha256"]

    edit(root / MANIFEST, agree)
