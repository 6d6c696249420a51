"""The source-unlearning benchmark: does deleting a source match never having trained on it?

A world is invented (data_prep's generated encyclopedia), five models are trained on it by the
training command, sources are deleted by the deletion command, and every model is asked about
sources that were deleted, kept and never seen. `layout` says which files there are, `answers` what
stands in them, `figures` what is computed from them and `results` what is written down.
"""
