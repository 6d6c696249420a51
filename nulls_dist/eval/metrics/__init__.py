"""Measures of unlearning: pure functions on likelihoods, choices and scores, one family per file.

Each file also describes its measures (`Metric`), so that formula and variant stand beside every
number. Measures of one name differ between publications; here every variant has a name of its own.
"""
