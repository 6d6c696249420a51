"""Megatron's groups, opened per test: they are global to a process."""

from collections.abc import Iterator

import pytest

from nulls_dist.parallel.topology import Topology
from tests.small_models import one_process, small_config


@pytest.fixture
def topology() -> Iterator[Topology]:
    """One process with both experts of the small model, its groups open."""
    with one_process(small_config()) as opened:
        yield opened
