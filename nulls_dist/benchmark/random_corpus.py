"""A corpus of random tokens in documents as long as Wikipedia's, for measuring speed."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nulls_dist import durable
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import (
    MANIFEST_FILE,
    PARTITIONS_DIR,
    CorpusManifest,
    TokenizerRecord,
    document_schema,
    partition_file,
    token_type_for,
)
from nulls_dist.durable import new_directory, record_file
from nulls_dist.hashing import U64Array
from nulls_dist.routing.router import NUM_BUCKETS, buckets_of

_MEAN_TOKENS: Final = 600.0
_LOG_SIGMA: Final = 1.2
_SHORTEST: Final = 16
_NUM_PARTITIONS: Final = 16
_ROWS_PER_BATCH: Final = 8192
"""About 10 MB, as data_prep writes them."""


def write_random_corpus(out: Path, *, num_tokens: int, vocab_size: int, seed: int = 0) -> Corpus:
    """Write the partitions and the manifest of a corpus, one document per source.

    There is no tokenizer and no table of sources: enough for training, not for a checkpoint.

    Args:
        out: must not exist.
        num_tokens: about how many.
        vocab_size: tokens are uniform below it.
        seed: of everything.
    """
    draws = np.random.default_rng(seed)
    location = np.log(_MEAN_TOKENS) - _LOG_SIGMA**2 / 2
    count = max(NUM_BUCKETS // 16, round(num_tokens / _MEAN_TOKENS))
    lengths = np.exp(draws.normal(location, _LOG_SIGMA, count)).astype(np.int64) + _SHORTEST
    source_ids = np.sort(draws.integers(0, 1 << 63, size=count, dtype=np.uint64))
    partitions = buckets_of(source_ids, router_seed=seed) * _NUM_PARTITIONS // NUM_BUCKETS
    with new_directory(out) as root:
        (root / PARTITIONS_DIR).mkdir()
        files = []
        for index in range(_NUM_PARTITIONS):
            inside = partitions == index
            path = partition_file(index)
            _write_partition(root / path, source_ids[inside], lengths[inside], vocab_size, draws)
            total = int(lengths[inside].sum())
            files.append(record_file(root, path, num_rows=int(inside.sum()), num_tokens=total))
        manifest = CorpusManifest(
            corpus="random",
            router_seed=seed,
            tokenizer=TokenizerRecord(
                kind="hf", file="", sha256="", vocab_size=vocab_size, eos_id=0
            ),
            token_type=token_type_for(vocab_size),
            num_partitions=_NUM_PARTITIONS,
            num_sources=count,
            num_documents=count,
            num_tokens=int(lengths.sum()),
            files=tuple(files),
            cleaner="none",
        )
        durable.write_json(root / MANIFEST_FILE, manifest.to_dict())
    return Corpus(out)


def _write_partition(
    path: Path,
    source_ids: U64Array,
    lengths: npt.NDArray[np.int64],
    vocab_size: int,
    draws: np.random.Generator,
) -> None:
    schema = document_schema(token_type_for(vocab_size))
    dtype = schema.field("tokens").type.value_type.to_pandas_dtype()
    with pa.ipc.new_file(path, schema) as writer:
        for begin in range(0, len(source_ids), _ROWS_PER_BATCH):
            ids = source_ids[begin : begin + _ROWS_PER_BATCH]
            ends = np.cumsum(lengths[begin : begin + _ROWS_PER_BATCH])
            tokens = draws.integers(0, vocab_size, size=int(ends[-1]), dtype=dtype)
            columns = [
                pa.array(ids),
                pa.array(np.zeros(len(ids), dtype=np.uint32)),
                pa.array(np.zeros(len(ids), dtype=np.uint64)),
                pa.array([bytes(16)] * len(ids), type=pa.binary(16)),
                pa.ListArray.from_arrays(
                    pa.array(np.concatenate(([0], ends)), type=pa.int32()),
                    pa.array(tokens),
                    type=schema.field("tokens").type,
                ),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
