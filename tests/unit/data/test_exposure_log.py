"""Exposure logs: one row per segment, whole as far as they were written."""

import numpy as np
import pyarrow as pa
import pytest

from nulls_dist.data.batches import Microbatch
from nulls_dist.data.exposure_log import (
    SCHEMA,
    ExposureWriter,
    exposure_log,
    list_exposure_logs,
    rank_of_log,
    read_exposure_log,
)
from nulls_dist.errors import IntegrityError
from nulls_dist.segments import SegmentLayout


def microbatch(*segments):
    """Segments as (source_id, doc_index, start, length)."""
    ids, indices, starts, lengths = zip(*segments, strict=True)
    num_tokens = sum(lengths)
    return Microbatch(
        tokens=np.zeros(num_tokens, dtype=np.int64),
        targets=np.zeros(num_tokens, dtype=np.int64),
        layout=SegmentLayout(
            lengths=lengths,
            source_ids=np.array(ids, dtype=np.uint64),
            doc_indices=np.array(indices, dtype=np.uint32),
        ),
        starts=np.array(starts),
    )


LARGE = 2**64 - 2
STEPS = {
    4: [microbatch((7, 0, 0, 3), (LARGE, 1, 5, 1)), microbatch((7, 0, 3, 4))],
    5: [microbatch((9, 2, 0, 8))],
}
ROWS = [(4, 7, 0, 0, 3), (4, LARGE, 1, 5, 1), (4, 7, 0, 3, 4), (5, 9, 2, 0, 8)]


@pytest.fixture
def path(tmp_path):
    return exposure_log(tmp_path, 12, 3)


def write(path):
    log = ExposureWriter(path)
    for step, batches in STEPS.items():
        log.append(step, batches)
    return log


def rows_of(path):
    table = read_exposure_log(path)
    return list(zip(*(table.column(name).to_pylist() for name in SCHEMA.names), strict=True))


def test_every_segment_is_a_row_in_order(path):
    write(path).close()
    assert rows_of(path) == ROWS


def test_a_log_that_was_not_ended_has_every_step_that_was_appended(path):
    log = write(path)
    assert rows_of(path) == ROWS
    log.sync()
    log.close()


def test_any_torn_end_leaves_the_steps_before_it(path, tmp_path):
    write(path).close()
    content = path.read_bytes()
    torn = tmp_path / "torn.arrow"
    found = set()
    for size in range(len(content)):
        torn.write_bytes(content[:size])
        rows = rows_of(torn)
        assert rows == ROWS[: len(rows)]
        found.add(len(rows))
    assert found == {0, 3, 4}


def test_a_log_is_never_written_over(path):
    write(path).close()
    with pytest.raises(FileExistsError):
        ExposureWriter(path)


def test_another_stream_is_refused(path):
    path.parent.mkdir()
    with path.open("wb") as file, pa.ipc.new_stream(file, pa.schema([("step", pa.int64())])):
        pass
    with pytest.raises(IntegrityError, match="schema differs from that of an exposure log"):
        read_exposure_log(path)


def test_logs_are_found_by_life_and_rank(tmp_path):
    for life, rank in [(1, 0), (1, 1), (11, 0)]:
        ExposureWriter(exposure_log(tmp_path, life, rank)).close()
    logs = list_exposure_logs(tmp_path, 1)
    assert [path.name for path in logs] == [
        "exposure-life0001-rank0000.arrow",
        "exposure-life0001-rank0001.arrow",
    ]
    assert [rank_of_log(path) for path in logs] == [0, 1]
    assert list_exposure_logs(tmp_path, 2) == []
