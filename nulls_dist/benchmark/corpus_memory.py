"""What reading a corpus adds to the memory of a process, measured in a new one.

Nothing but the readers is imported here, so that the new process starts fast and small.
"""

from pathlib import Path

from nulls_dist.benchmark.corpus_readers import READERS
from nulls_dist.benchmark.own_process import read_memory, run_alone
from nulls_dist.parallel.quiet import quiet_libraries


def memory_of_reading(name: str, root: Path) -> dict[str, float]:
    """Read all documents in order in a new process.

    Args:
        name: format, of `READERS`.
        root: directory to open.

    Returns:
        "private_mib": what is still allocated at the end; "peak_mib": what was resident at most,
        pages of mapped files included, which the system may drop. Imports are not counted.
    """
    return run_alone(_read_and_weigh, name, root)


def _read_and_weigh(name: str, root: Path) -> dict[str, float]:
    with quiet_libraries():
        READERS[name](root)  # imports what it needs
    before = read_memory()
    reader = READERS[name](root)
    for block in reader.blocks():
        block.sum()
    after = read_memory()
    return {
        "private_mib": after["RssAnon"] - before["RssAnon"],
        "peak_mib": after["VmHWM"] - before["VmRSS"],
    }
