"""The page of a benchmark, a section per file.

A section is built from `findings.Findings` by a function that returns None where there is nothing
to tell: what a later command writes beside results.json gets a function of its own in
`render.SECTIONS`, and is left out until its file exists.
"""
