"""How the ranks that write one checkpoint tell each other that their files are complete.

Each rank writes its files into the partial directory and leaves a note there: what it wrote, or why
it could not. Rank 0 collects the notes. They go through the file system alone, so that threads can
do this beside training, and after training failed.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from nulls_dist import durable
from nulls_dist.checkpoint.store import write_tensors
from nulls_dist.durable import FileRecord, record_file

_NOTES_DIR: Final = ".notes"
_POLL_S: Final = 0.05


def open_partial(final: Path) -> Path:
    """Make an empty directory in which the ranks can build `final`; rank 0 calls this first.

    Raises:
        OSError: it cannot be made.
    """
    partial = durable.partial_directory(final)
    shutil.rmtree(partial, ignore_errors=True)
    durable.make_directory(partial.parent)
    (partial / _NOTES_DIR).mkdir(parents=True)
    return partial


def write_part(partial: Path, rank: int, files: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write one rank's files, flush them and leave the note that they are complete.

    Args:
        partial: where to.
        rank: of this process.
        files: file -> tensor name -> tensor in host memory.

    Raises:
        OSError: they cannot be written; the note says why, where one can be left.
    """
    try:
        records = [_write_file(partial, name, files[name]) for name in sorted(files)]
    except OSError as error:
        for name in files:  # a full disk has room for the note then
            with contextlib.suppress(OSError):
                (partial / name).unlink(missing_ok=True)
        _leave_note(partial, rank, {"failure": str(error)})
        raise
    _leave_note(partial, rank, {"records": [asdict(record) for record in records]})


def _write_file(partial: Path, name: str, tensors: Mapping[str, Tensor]) -> FileRecord:
    write_tensors(partial / name, tensors)
    durable.sync_path(partial / name)  # rank 0 cannot flush what another node has in memory
    return record_file(partial, name)


def _leave_note(partial: Path, rank: int, content: dict[str, Any]) -> None:
    durable.write_json(partial / _NOTES_DIR / _note_name(rank), content)


def _note_name(rank: int) -> str:
    return f"rank-{rank:05d}.json"


def collect_parts(
    partial: Path, num_ranks: int, *, is_late: Callable[[], bool]
) -> list[FileRecord]:
    """Wait for the notes of all ranks, take them away and return what the ranks wrote.

    Args:
        partial: where the ranks write.
        num_ranks: how many they are.
        is_late: asked now and then while notes are missing; stops the waiting.

    Raises:
        OSError: a rank could not write its files, or left no note.
        IntegrityError: a note is damaged.
    """
    folder = partial / _NOTES_DIR
    while missing := _missing_ranks(folder, num_ranks):
        if is_late():
            raise OSError(
                f"rank {missing[0]} (and {len(missing) - 1} more) left no note in {folder}; the "
                "run directory must be on a file system that all nodes share"
            )
        time.sleep(_POLL_S)
    notes = [durable.read_json(folder / _note_name(rank)) for rank in range(num_ranks)]
    for rank, note in enumerate(notes):
        if "failure" in note:
            raise OSError(f"rank {rank}: {note['failure']}")
    shutil.rmtree(folder)
    return [FileRecord(**record) for note in notes for record in note["records"]]


def _missing_ranks(folder: Path, num_ranks: int) -> list[int]:
    present = set(os.listdir(folder))
    return [rank for rank in range(num_ranks) if _note_name(rank) not in present]
