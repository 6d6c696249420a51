"""The prompt index of a checkpoint: opened, built where there is none yet, or made for once."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nulls_dist.checkpoint.format import SOURCES_FILE
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.durable import check_outside
from nulls_dist.retrieval.encoder import Encoder
from nulls_dist.retrieval.index_files import build_index
from nulls_dist.retrieval.prompt_index import PromptIndex
from nulls_dist.unlearn.plan import open_sources

logger = logging.getLogger(__name__)


@contextmanager
def open_index(
    checkpoint: Checkpoint, root: Path | None, encoder: Encoder
) -> Iterator[PromptIndex]:
    """Open the index of a checkpoint's surviving sources for the duration of a block.

    Args:
        checkpoint: gives the sources and what was deleted.
        root: of the index, which is built there if nothing is; None: a temporary one.
        encoder: of the titles.

    Raises:
        InputError: `root` is the index of other sources or another encoder, or lies inside the
            checkpoint.
        IntegrityError: the index or the checkpoint is damaged.
        LockedError: another process is building the index.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "index" if root is None else root
        if not path.exists():
            check_outside(path, checkpoint.root)
            table = open_sources(checkpoint)
            logger.info("indexing the titles and aliases of %d sources", len(table))
            build_index(table, path, encoder, deleted=checkpoint.manifest.deleted_ids.tolist())
        opened = PromptIndex(
            path,
            checkpoint.manifest.build_router(),
            encoder,
            sources_sha256=checkpoint.record(SOURCES_FILE).sha256,
        )
        with closing(opened) as index:
            yield index
