"""What each rank really trained on, in a file per life of a run and rank.

RUN/log/exposure-life0001-rank0000.arrow is an Arrow IPC stream with one batch per step and one row
per segment. Each step is handed to the operating system at once, so a killed process loses at most
the step that it was in; a torn tail reads as what is whole before it.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from nulls_dist.data.batches import Microbatch
from nulls_dist.durable import sync_path
from nulls_dist.errors import IntegrityError

SCHEMA: Final = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),  # from 1, as in metrics.jsonl
        pa.field("source_id", pa.uint64(), nullable=False),
        pa.field("doc_index", pa.uint32(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # first token inside the document
        pa.field("length", pa.int64(), nullable=False),
    ]
)


def exposure_log(run_dir: Path, life: int, rank: int) -> Path:
    """Return the log of a rank in a life of a run."""
    return run_dir / "log" / f"exposure-life{life:04d}-rank{rank:04d}.arrow"


def list_exposure_logs(run_dir: Path, life: int) -> list[Path]:
    """Return the logs of all ranks in a life of a run, by rank."""
    return sorted((run_dir / "log").glob(f"exposure-life{life:04d}-rank*.arrow"))


def rank_of_log(path: Path) -> int:
    """Return the rank that wrote a log, by its name."""
    return int(path.stem.rpartition("rank")[2])


class ExposureWriter:
    """Appends the segments of each step to a new log."""

    def __init__(self, path: Path) -> None:
        """Begin a log.

        Raises:
            FileExistsError: there is one already.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("xb")
        self._stream = pa.ipc.new_stream(self._file, SCHEMA)
        self._file.flush()
        sync_path(path.parent)

    def append(self, step: int, batches: list[Microbatch]) -> None:
        """Log what was trained on at a step, segment by segment."""
        columns = (
            np.concatenate([np.full(batch.layout.num_segments, step) for batch in batches]),
            np.concatenate([batch.layout.source_ids for batch in batches]),
            np.concatenate([batch.layout.doc_indices for batch in batches]),
            np.concatenate([batch.starts for batch in batches]),
            np.concatenate([np.array(batch.layout.lengths) for batch in batches]),
        )
        arrays = [
            pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)
        ]
        self._stream.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        self._file.flush()

    def sync(self) -> None:
        """Flush the log to the device."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the log."""
        self._stream.close()
        self._file.close()


def read_exposure_log(path: Path) -> pa.Table:
    """Read a log as far as it is whole, with the columns of `SCHEMA`.

    Raises:
        IntegrityError: it is a log of something else.
    """
    batches: list[pa.RecordBatch] = []
    # A life that was killed while it wrote leaves a torn end. What is missing, a comparison finds.
    with path.open("rb") as file, contextlib.suppress(pa.ArrowException, OSError):
        stream = pa.ipc.open_stream(file)
        if not stream.schema.equals(SCHEMA):
            raise IntegrityError(f"{path}: schema differs from that of an exposure log")
        for batch in stream:
            batches.append(batch)  # noqa: PERF402 - what came before an error stays
    return pa.Table.from_batches(batches, SCHEMA)
