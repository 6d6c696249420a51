"""Work ahead: a background thread makes the next items while the caller uses the last one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")


@contextmanager
def prefetch(
    make: Callable[[Key], Item], keys: Iterable[Key], *, ahead: int
) -> Iterator[Iterator[Item]]:
    """Yield an iterator over `make(key)` of each key, in order, made ahead of time by one thread.

    An exception of `make` is raised as it is where its item would have been. The thread ends with
    the block; an item in the making is finished, those after it are not begun.

    Args:
        make: called in the background, once per key.
        keys: read in the caller's thread; may be endless.
        ahead: most items that wait to be used, at least 1.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        yield _in_order(pool, make, iter(keys), ahead)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[Key], Item], keys: Iterator[Key], ahead: int
) -> Iterator[Item]:
    begun: deque[Future[Item]] = deque(pool.submit(make, key) for key in islice(keys, ahead))
    while begun:
        item = begun.popleft().result()
        begun.extend(pool.submit(make, key) for key in islice(keys, 1))
        yield item
