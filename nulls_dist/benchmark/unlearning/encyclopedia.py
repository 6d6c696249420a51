"""A world that is invented: the generated encyclopedia, its articles or collections as sources."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.generated import build_generated
from nulls_dist.benchmark.unlearning.sizes import Size

BOOK_TITLE: Final = "The Book"
"""As data preparation calls the source that `--book-articles` makes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Encyclopedia:
    """The generated encyclopedia of a seed."""

    commands: Commands
    size: Size
    seed: int
    log: Path

    def build_world(self, out: Path) -> None:
        """Build the corpus of all sources, which comes with its facts."""
        size = self.size
        renderings = size.renderings + size.validation_renderings
        self._build(out, f"train:bpe:{size.vocabulary}", "--renderings", renderings)

    def build_corpus(self, out: Path, *, tokenizer: Path, exclude: Path) -> None:
        """Build what models are trained on, without the sources that a file names."""
        self._build(out, tokenizer, "--renderings", self.size.renderings, "--exclude", exclude)

    def _build(self, out: Path, tokenizer: Path | str, *options: Any) -> None:
        if out.exists():  # a corpus appears whole
            return
        build_generated(
            self.commands,
            out,
            *("--tokenizer", tokenizer, "--duplicates", "off", "--workers", 1),
            *("--articles-per-source", self.size.articles_per_source),
            *("--book-articles", self.size.book_articles),
            *options,
            articles=self.size.world_articles,
            seed=self.seed,
            log=self.log,
        )
