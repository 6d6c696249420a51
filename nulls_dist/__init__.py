"""nulls-dist: pretraining of language models whose sources can be deleted afterwards.

Importing this package imports neither torch nor Megatron nor DeepSpeed.
"""

__version__ = "0.1.0"
