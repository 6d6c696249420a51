"""Imports that take seconds, for the server that forks ranks: importing this is all it does.

A forked process cannot use a GPU that its parent has seen, so these ranks train on the CPU.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""

from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.parallel.quiet import quiet_libraries

select_accelerator(0)  # before DeepSpeed is imported, which looks for one itself
with quiet_libraries():
    import nulls_dist.train.build
    import nulls_dist.train.job  # noqa: F401
