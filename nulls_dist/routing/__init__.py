"""Which sinks serve a source: a pure function of its id and the corpus's router seed."""
