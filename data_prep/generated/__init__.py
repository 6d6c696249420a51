"""A generated encyclopedia: articles about invented people, with the ground truth of every fact."""
