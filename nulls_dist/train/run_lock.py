"""One process at a time trains in a run directory; anybody may see whether one does."""

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nulls_dist.durable import make_directory
from nulls_dist.errors import LockedError
from nulls_dist.train.run_files import LOCK_FILE

_LOCKS: Final = Path("/proc/locks")


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold a run directory for this process, and write into the lock file on which host.

    Raises:
        LockedError: another process trains there.
    """
    make_directory(run_dir)
    with (run_dir / LOCK_FILE).open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LockedError(f"{run_dir}: another process trains in this directory") from None
        file.truncate(0)
        file.write(f"{socket.gethostname()}\n")
        file.flush()
        yield


def is_held(run_dir: Path) -> bool | None:
    """Say whether a process holds a run directory, without touching the lock.

    To try it would, for a moment, keep a run from starting.

    Returns:
        None where that cannot be seen from here, as on another host.
    """
    path = run_dir / LOCK_FILE
    try:
        host = path.read_text(encoding="utf-8").strip()
        inode = str(path.stat().st_ino)
        locks = _LOCKS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    if host != socket.gethostname():
        return None
    # number, kind, advisory or not, mode, pid, MAJOR:MINOR:INODE, start, end; as in proc_locks(5)
    return any(
        kind == "FLOCK" and place.rpartition(":")[2] == inode
        for _, kind, *_, place, _, _ in map(str.split, locks)
    )
