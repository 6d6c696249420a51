"""Megatron-core and DeepSpeed without the warnings that are no news to a user of this project."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence import-time and construction-time warnings of the two libraries for a block.

    They concern optional CUDA packages (Transformer Engine, Apex) that have torch fallbacks.
    """
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    logging.getLogger("megatron.core").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def import_quietly(name: str) -> ModuleType:
    """Import a module, and the two libraries with it, without what they warn of as they load."""
    logging.disable(logging.WARNING)
    try:
        with quiet_libraries():
            return import_module(name)
    finally:
        logging.disable(logging.NOTSET)
