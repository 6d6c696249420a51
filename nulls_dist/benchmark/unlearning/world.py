"""The world of a seed: three corpora, and which sources are deleted, kept and never seen."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.generated import build_generated, draw_sources, write_request
from nulls_dist.benchmark.unlearning.lab import Lab
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import SOURCES_FILE
from nulls_dist.data.source_table import SourceTable

STEP: Final = "world"
DELETED: Final = "deleted"
KEPT: Final = "kept"
UNSEEN: Final = "unseen"
GROUPS_FILE: Final = "groups.json"
_REQUEST_FILE: Final = "deleted.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """Ids of the sources that a seed's models are asked about, in the order that a hash drew."""

    deleted: tuple[int, ...]
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


def build_world(lab: Lab, seed: int) -> None:
    """Build the corpora of a seed, unless that is done."""
    lab.once(seed, STEP, partial(_build, lab, seed))


def read_groups(lab: Lab, seed: int) -> Groups:
    """Return the groups of a seed whose world is built."""
    content = durable.read_json(lab.seed_dir(seed) / GROUPS_FILE)
    return Groups(**{name: tuple(ids) for name, ids in content.items()})


def request_file(lab: Lab, seed: int) -> Path:
    """Return the list of the sources to delete, as a user would write it."""
    return lab.seed_dir(seed) / _REQUEST_FILE


def _build(lab: Lab, seed: int) -> dict[str, Any]:
    folder, world, size = lab.seed_dir(seed), lab.world(seed), lab.size
    whole = size.renderings + size.validation_renderings
    _build_corpus(lab, seed, world, f"train:bpe:{size.vocabulary}", "--renderings", whole)
    groups = _draw_groups(lab, seed)
    write_request(world, list(groups.deleted), request_file(lab, seed))
    write_request(world, list(groups.unseen), folder / "unseen.txt")
    write_request(world, [*groups.unseen, *groups.deleted], folder / "excluded.txt")
    tokenizer = world / Corpus(world).manifest.tokenizer.file
    for is_retrained, excluded in ((False, "unseen.txt"), (True, "excluded.txt")):
        out = lab.corpus(seed, is_retrained=is_retrained)
        renderings = ("--renderings", size.renderings)
        _build_corpus(lab, seed, out, tokenizer, *renderings, "--exclude", folder / excluded)
    durable.write_json(folder / GROUPS_FILE, asdict(groups))
    return {name: len(ids) for name, ids in groups.items()}


def _build_corpus(lab: Lab, seed: int, out: Path, tokenizer: Path | str, *options: Any) -> None:
    if not out.exists():  # a corpus appears whole
        build_generated(
            lab.commands,
            out,
            *("--tokenizer", tokenizer, "--duplicates", "off", "--workers", 1),
            *options,
            articles=lab.size.world_articles,
            seed=seed,
            log=lab.log(seed, STEP),
        )


def _draw_groups(lab: Lab, seed: int) -> Groups:
    drawn = draw_sources(SourceTable(lab.world(seed) / SOURCES_FILE).source_ids, seed=seed)
    unseen, corpus = drawn[: lab.size.unseen], drawn[lab.size.unseen :]
    deleted, kept = corpus[: lab.size.deleted], corpus[lab.size.deleted :]
    return Groups(
        deleted=tuple(deleted), kept=tuple(kept[: lab.size.kept_asked]), unseen=tuple(unseen)
    )
