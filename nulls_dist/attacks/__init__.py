"""Attempts to bring back what was deleted, one per file.

`catalogue` lists those that ask a model as it is; `relearning` trains it further.

An attack takes an opened model and what it is asked, and returns `AttackResult`s: measures with
their formulas, what the attacker did and with which budget. It runs on any model alike: trained,
suppressed, excised, retrained, dense. No value is good by itself: compare with the retrained model
under the same attack.
"""
