"""Spool files: the names of documents are read without their texts."""

import pyarrow as pa

from data_prep.documents import Document
from data_prep.spool import new_spool, read_spool, read_spooled_names


def write(path, num_documents):
    with new_spool(path) as spool:
        for number in range(num_documents):
            text = f"{number} " + 10_000 * "x"
            title = f"Title {number}"
            spool.add(Document(source_key=f"k-{number}", doc_index=0, title=title, text=text))


def test_names_are_those_of_the_documents_and_take_no_memory_of_texts(tmp_path):
    path = tmp_path / "part.arrow"
    write(path, 500)
    before = pa.total_allocated_bytes()
    names = read_spooled_names(path, 400)
    assert pa.total_allocated_bytes() - before < 100_000  # the texts are 5 MB
    assert names.column("title").to_pylist() == [f"Title {number}" for number in range(400)]
    assert "text" not in names.column_names
    spooled = list(read_spool(path, 400))
    assert names.column("text_digest").to_pylist() == [entry.text_digest for entry in spooled]
