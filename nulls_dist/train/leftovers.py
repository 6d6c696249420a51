"""What a killed life leaves half-written in the run directory; the next one removes it."""

import logging
import re
import shutil
from pathlib import Path
from typing import Final

from nulls_dist import durable
from nulls_dist.checkpoint.store import CHECKPOINTS_DIR
from nulls_dist.train.run_files import LOG_DIR

logger = logging.getLogger(__name__)

_OWN_PARTIAL: Final = re.compile(r"\.step-\d{8,}\.partial")


def drop_leftovers(run_dir: Path) -> None:
    """Remove unfinished checkpoints, those that were being removed, and temporary files.

    Other unfinished directories beside the checkpoints stay: a deletion may be writing there.

    Only the holder of the run directory's lock may call this.
    """
    found = [
        path
        for path in run_dir.glob(f"{CHECKPOINTS_DIR}/{durable.PARTIAL_PATTERN}")
        if _OWN_PARTIAL.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    for folder in (run_dir, run_dir / LOG_DIR):
        for path in folder.glob(durable.TEMPORARY_PATTERN):
            if path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)
                found.append(path)
    if found:
        names = ", ".join(sorted(path.name for path in found))
        logger.info("removed what an earlier life left unfinished: %s", names)
