"""The ground truth of a generated encyclopedia as one table, which every evaluation reads.

One row per source (an article, unless several are gathered), fact and phrasing. The columns:

* `source_id`, `source_key`, `title`: the source in which the fact is asked for. Sinks are routed,
  and deletions named, by it.
* `fact_id`: groups the rows of one fact. A shared fact has one id in all its sources, so that
  it can be counted once.
* `kind`: "unique" should be forgotten with its source; "shared" and "inferable" may be known from
  other sources (see `data_prep.generated.encyclopedia`).
* `attribute`: what is asked for; wrong answers come from the same attribute.
* `multiplicity`: how many sources state the fact (1 if unique), or teach the rule that it follows
  from (inferable).
* `member_ids`: those sources, ascending: remove some, and the rest still teach it.
* `phrasing`: number of the phrasing, from 0.
* `held_out`: whether none of this source's documents uses the phrasing. Answers to the others may
  be recited; answers to these show that the fact is known.
* `prompt`: the sentence up to its value. `prompt + " " + answer + "."` is the whole sentence.
* `answer`: the right value.
* `wrong_answers`: other values, to compare its likelihood with.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.generated.encyclopedia import Article, Encyclopedia, gather_facts
from nulls_dist.durable import write_bytes

FACTS_SCHEMA = pa.schema(
    [
        pa.field("source_id", pa.uint64(), nullable=False),
        pa.field("source_key", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("fact_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("attribute", pa.string(), nullable=False),
        pa.field("multiplicity", pa.int32(), nullable=False),
        pa.field("member_ids", pa.list_(pa.uint64()), nullable=False),
        pa.field("phrasing", pa.int8(), nullable=False),
        pa.field("held_out", pa.bool_(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("wrong_answers", pa.list_(pa.string()), nullable=False),
    ]
)
# Bounds memory; as a constant it keeps the bytes of the file a function of its contents.
_SOURCES_PER_ROW_GROUP = 256


def write_facts(encyclopedia: Encyclopedia, path: Path, source_id_of: Callable[[str], int]) -> None:
    """Write the table of facts as Parquet, atomically; equal contents give equal bytes.

    Args:
        encyclopedia: articles with their facts.
        path: the file to write; one that exists is replaced.
        source_id_of: maps a source key to its 64-bit id.
    """
    sources = list(gather_facts(encyclopedia))
    source_ids = {source.source_key: source_id_of(source.source_key) for source in sources}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, FACTS_SCHEMA, compression="zstd") as writer:
        remaining = iter(sources)
        while group := tuple(islice(remaining, _SOURCES_PER_ROW_GROUP)):
            rows = [row for source in group for row in _fact_rows(source, source_ids)]
            writer.write_table(pa.Table.from_pylist(rows, schema=FACTS_SCHEMA))
    write_bytes(path, sink.getvalue().to_pybytes())


def _fact_rows(source: Article, source_ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    for fact in source.facts:
        member_ids = sorted(source_ids[key] for key in fact.members)
        for phrasing, (prompt, held_out) in enumerate(
            zip(fact.prompts, fact.held_out, strict=True)
        ):
            yield {
                "source_id": source_ids[source.source_key],
                "source_key": source.source_key,
                "title": source.title,
                "fact_id": fact.fact_id,
                "kind": fact.kind,
                "attribute": fact.attribute,
                "multiplicity": fact.multiplicity,
                "member_ids": member_ids,
                "phrasing": phrasing,
                "held_out": held_out,
                "prompt": prompt,
                "answer": fact.answer,
                "wrong_answers": fact.wrong_answers,
            }
