"""Read a corpus: memory-mapped documents, the source-affine stream, batches."""
