"""Work spread over processes, results in the order of the inputs."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Final, TypeVar

from nulls_dist.errors import NullsError

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")

_CHUNKS_AHEAD: Final = 4
"""Chunks in flight per worker: enough to keep it busy, few enough to keep memory flat."""


def ordered_map(
    function: Callable[[InputT], ResultT], inputs: Iterable[InputT], *, num_workers: int
) -> Iterator[ResultT]:
    """Yield `function(value)` for each input, in order.

    Args:
        function: picklable when there are several workers.
        inputs: read only a few values ahead of what was yielded.
        num_workers: processes; 1 works in this process.

    Raises:
        NullsError: a worker died.
        Exception: whatever `function` raised.
    """
    if num_workers == 1:
        yield from map(function, inputs)
        return
    # Spawned, not forked: the parent has threads of Arrow and of the tokenizers.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        pending: deque[Future[ResultT]] = deque()
        values = iter(inputs)
        try:
            for value in islice(values, num_workers * _CHUNKS_AHEAD):
                pending.append(pool.submit(function, value))
            while pending:
                yield pending.popleft().result()
                for value in islice(values, 1):
                    pending.append(pool.submit(function, value))
        except BrokenProcessPool as error:
            raise NullsError(
                "a worker process died: either of the error above, or killed by the system; if it "
                "was for lack of memory, take fewer --workers"
            ) from error
        finally:
            for future in pending:
                future.cancel()


def chunked(values: Iterable[InputT], size: int) -> Iterator[list[InputT]]:
    """Yield lists of `size` consecutive values, the last one perhaps shorter."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
