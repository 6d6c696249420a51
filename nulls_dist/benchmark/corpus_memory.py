"""What reading a corpus adds to the memory of a process, measured in a new one.

Nothing but the readers is imported here, so that the new process starts fast and small.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.corpus_readers import READERS
from nulls_dist.parallel.quiet import quiet_libraries

_MIB: Final = 1 << 20


def memory_of_reading(name: str, root: Path) -> dict[str, float]:
    """Read all documents in order in a new process.

    Args:
        name: format, of `READERS`.
        root: directory to open.

    Returns:
        "private_mib": what is still allocated at the end; "peak_mib": what was resident at most,
        pages of mapped files included, which the system may drop. Imports are not counted.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_read_and_weigh, name, root).result()


def _read_and_weigh(name: str, root: Path) -> dict[str, float]:
    with quiet_libraries():
        READERS[name](root)  # imports what it needs
    before = _resident()
    reader = READERS[name](root)
    for block in reader.blocks():
        block.sum()
    after = _resident()
    return {
        "private_mib": (after["RssAnon"] - before["RssAnon"]) / _MIB,
        "peak_mib": (after["VmHWM"] - before["VmRSS"]) / _MIB,
    }


def _resident() -> dict[str, int]:
    """Return bytes of the process: resident, resident at most, and allocated by itself."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = (line.split() for line in lines if line.startswith(("VmRSS:", "VmHWM:", "RssAnon:")))
    return {name.rstrip(":"): int(kib) * 1024 for name, kib, _ in fields}
