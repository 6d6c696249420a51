"""Work spread over the processes of this machine, results in the order of the inputs."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Final, TypeVar

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")

_INPUTS_AHEAD: Final = 2
"""Inputs in flight per worker: enough to keep it busy, few enough to keep memory flat."""


class WorkerPool:
    """Processes that are started with the first work and stay until `close`."""

    def __init__(self, num_workers: int) -> None:
        """Prepare a pool.

        Args:
            num_workers: processes; 1 works in this process.
        """
        self._num_workers = num_workers
        self._executor: ProcessPoolExecutor | None = None

    def map(
        self, function: Callable[[InputT], ResultT], inputs: Iterable[InputT]
    ) -> Iterator[ResultT]:
        """Yield `function(value)` for each input, in order.

        Args:
            function: picklable when there are several workers.
            inputs: read only a few values ahead of what was yielded.

        Raises:
            ChildProcessError: a worker died.
            Exception: whatever `function` raised.
        """
        if self._num_workers == 1:
            yield from map(function, inputs)
            return
        executor = self._open()
        pending: deque[Future[ResultT]] = deque()
        values = iter(inputs)
        try:
            for value in islice(values, self._num_workers * _INPUTS_AHEAD):
                pending.append(executor.submit(function, value))
            while pending:
                yield pending.popleft().result()
                for value in islice(values, 1):
                    pending.append(executor.submit(function, value))
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a worker process died: either of the error above, or killed by the system; if it "
                "was for lack of memory, take fewer --workers"
            ) from error
        finally:
            # Afterwards nothing works any more on what the caller may remove.
            wait([future for future in pending if not future.cancel()])

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def _open(self) -> ProcessPoolExecutor:
        if self._executor is None:
            # Spawned, not forked: the parent has threads of Arrow and of the tokenizers.
            self._executor = ProcessPoolExecutor(
                self._num_workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_obey_parent,
            )
        return self._executor


def _obey_parent() -> None:
    """End this worker when its parent is killed, and only then: it would wait for work for ever.

    An interrupt from the keyboard reaches all processes; it is for the parent to act on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
