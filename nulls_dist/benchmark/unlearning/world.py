"""The world of a seed: three corpora, and which sources are deleted, kept and never seen.

What the world is made of varies (`encyclopedia`, `real_world`); what is done with it does not.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow.parquet as pq

from nulls_dist import durable
from nulls_dist.benchmark.generated import draw_sources, write_request
from nulls_dist.benchmark.unlearning.encyclopedia import BOOK_TITLE, Encyclopedia
from nulls_dist.benchmark.unlearning.lab import Lab
from nulls_dist.benchmark.unlearning.real_text import Texts
from nulls_dist.benchmark.unlearning.real_world import RealWorld
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import FACTS_FILE, SOURCES_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import InputError

STEP: Final = "world"
DELETED: Final = "deleted"
KEPT: Final = "kept"
UNSEEN: Final = "unseen"
GROUPS_FILE: Final = "groups.json"
_REQUEST_FILE: Final = "deleted.txt"


class World(Protocol):
    """What the corpora of a seed are made of; each call makes one, which appears whole."""

    def build_world(self, out: Path) -> None:
        """Build the corpus of all sources with a tokenizer of its own, and its facts.

        A source's documents that no model is trained on come after its others.
        """

    def build_corpus(self, out: Path, *, tokenizer: Path, exclude: Path) -> None:
        """Build what models are trained on, without the sources that a file names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """Ids of the sources that a seed's models are asked about, in the order that a hash drew."""

    deleted: tuple[int, ...]
    """A book comes first."""
    kept: tuple[int, ...]
    """Those of the others in the corpus that are asked about."""
    unseen: tuple[int, ...]
    """All that no model is trained on."""

    def items(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield every group's name and sources."""
        yield from ((DELETED, self.deleted), (KEPT, self.kept), (UNSEEN, self.unseen))

    @property
    def lacking(self) -> frozenset[int]:
        """Sources that cannot lend their sinks: equal for all models, so that all are compared."""
        return frozenset((*self.deleted, *self.unseen))


def build_world(lab: Lab, seed: int, texts: Texts | None = None) -> None:
    """Build the corpora of a seed, unless that is done.

    Args:
        lab: the benchmark.
        seed: the seed.
        texts: what a world of real text is made of; None for the generated encyclopedia.
    """
    lab.once(seed, STEP, partial(_build, lab, seed, texts))


def read_groups(lab: Lab, seed: int) -> Groups:
    """Return the groups of a seed whose world is built."""
    content = durable.read_json(lab.seed_dir(seed) / GROUPS_FILE)
    return Groups(**{name: tuple(ids) for name, ids in content.items()})


def request_file(lab: Lab, seed: int) -> Path:
    """Return the list of the sources to delete, as a user would write it."""
    return lab.seed_dir(seed) / _REQUEST_FILE


def _open(lab: Lab, seed: int, texts: Texts | None) -> World:
    log = lab.log(seed, STEP)
    if texts is None:
        return Encyclopedia(commands=lab.commands, size=lab.size, seed=seed, log=log)
    folder = lab.seed_dir(seed) / "texts"
    return RealWorld(commands=lab.commands, size=lab.size, texts=texts, folder=folder, log=log)


def _build(lab: Lab, seed: int, texts: Texts | None) -> dict[str, Any]:
    folder, root = lab.seed_dir(seed), lab.world(seed)
    world = _open(lab, seed, texts)
    world.build_world(root)
    groups = _draw_groups(lab, seed)
    write_request(root, list(groups.deleted), request_file(lab, seed))
    write_request(root, list(groups.unseen), folder / "unseen.txt")
    write_request(root, [*groups.unseen, *groups.deleted], folder / "excluded.txt")
    tokenizer = root / Corpus(root).manifest.tokenizer.file
    for is_retrained, excluded in ((False, "unseen.txt"), (True, "excluded.txt")):
        out = lab.corpus(seed, is_retrained=is_retrained)
        world.build_corpus(out, tokenizer=tokenizer, exclude=folder / excluded)
    durable.write_json(folder / GROUPS_FILE, asdict(groups))
    return {name: len(ids) for name, ids in groups.items()}


def _draw_groups(lab: Lab, seed: int) -> Groups:
    """Draw from the sources that have facts: no other can be asked about."""
    size, root = lab.size, lab.world(seed)
    facts = pq.read_table(root / FACTS_FILE, columns=["source_id"])
    drawn = draw_sources(np.unique(facts.column("source_id").to_numpy()), seed=seed)
    titles = SourceTable(root / SOURCES_FILE).titles_of(drawn)
    book = [
        source
        for source, title in zip(drawn, titles, strict=True)
        if size.book_articles and title == BOOK_TITLE
    ]
    others = [source for source in drawn if source not in book]
    wanted = size.deleted + size.kept_asked + size.unseen
    if len(drawn) < wanted:
        raise InputError(
            f"{root}: {len(drawn)} sources have facts, but size {size.name!r} deletes, asks or "
            f"leaves out {wanted}; name a file with questions about more articles"
        )
    unseen, corpus = others[: size.unseen], [*book, *others[size.unseen :]]
    deleted, kept = corpus[: size.deleted], corpus[size.deleted :]
    return Groups(deleted=tuple(deleted), kept=tuple(kept[: size.kept_asked]), unseen=tuple(unseen))
