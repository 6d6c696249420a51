"""One process with its groups, for benchmarks of the model."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from nulls_dist.config.environment import ALONE
from nulls_dist.parallel.accelerator import Accelerator
from nulls_dist.parallel.groups import Groups, model_parallel, process_group
from nulls_dist.parallel.quiet import quiet_libraries
from nulls_dist.parallel.topology import Topology


@contextmanager
def one_process(topology: Topology, accelerator: Accelerator) -> Iterator[Groups]:
    """Open the groups that Megatron and DeepSpeed need, without their warnings."""
    with ExitStack() as stack:
        stack.enter_context(quiet_libraries())
        stack.enter_context(process_group(ALONE, accelerator))
        yield stack.enter_context(model_parallel(topology))
