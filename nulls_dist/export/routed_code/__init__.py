"""Code that a routed release ships: plain files that need torch, transformers and numpy only.

They import each other relatively, because transformers loads them as a package of its own.
"""
