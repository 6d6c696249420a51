"""What every test can rely on: the same draws each time, one thread, a place for real data."""

import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read by torch when a test imports it, and by child processes

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_runtest_setup() -> None:
    """Start each test from the same random state. A test that needs no torch does not import it."""
    random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Leave no process group to the next test; fixtures close theirs before this."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real text (Wikipedia dump pages, question-answer pairs, tokenizer files)."""
    folder = os.environ.get("NULLS_TEST_DATA")
    if not folder:
        pytest.skip("needs real text: set NULLS_TEST_DATA to its folder")
    return Path(folder)
