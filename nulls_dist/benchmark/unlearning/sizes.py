"""How much a benchmark does, and which models it trains."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from nulls_dist.config.presets import Control


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One of the models that are compared."""

    name: str
    control: Control | None = None
    """The dense control that it is; None for a model with sinks."""
    is_retrained: bool = False
    """Whether the deleted sources were left out of its corpus."""

    @property
    def has_sinks(self) -> bool:
        """Whether sources can be deleted from it."""
        return self.control is None


NULLS: Final = Arm(name="nulls")
RETRAINED: Final = Arm(name="nulls_retrained", is_retrained=True)
DENSE: Final = Arm(name="dense_active", control="active")
DENSE_RETRAINED: Final = Arm(name="dense_active_retrained", control="active", is_retrained=True)
DENSE_TOTAL: Final = Arm(name="dense_total", control="total")
ARMS: Final = (DENSE_TOTAL, NULLS, RETRAINED, DENSE, DENSE_RETRAINED)
"""In the order of training, the longest first: none is left to run alone at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much is invented, trained, deleted and asked."""

    name: str
    articles: int
    """Sources of the corpus, of which `deleted` are deleted; articles, unless they are gathered."""
    deleted: int
    unseen: int
    """More sources of the same world that no model is trained on: non-members of membership
    inference. The number of documents among them bounds the false-positive rate that can be told
    from 0."""
    kept_asked: int
    """Kept sources that are questioned."""
    unseen_asked: int
    """Unseen sources that are questioned; their documents are all scored."""
    renderings: int = 8
    """Documents per article in the corpus."""
    validation_renderings: int = 1
    """More documents per article, in no corpus: the same facts in other words and order. Of real
    text, which nobody renders again, paragraphs are left out in that proportion."""
    articles_per_source: int = 1
    """More than one make up a collection, which is one source."""
    book_articles: int = 0
    """Articles that make up one more source, a book, which is always deleted; 0 for none."""
    article_characters: int = 0
    """Of a world of real text: how much of each article is used; 0 for the generated world."""
    has_dense: bool = True
    """Whether dense models are trained, too."""
    vocabulary: int
    """Upper bound of the tokenizer, trained once per seed, on the whole world, so that no text of
    a group is cut into more tokens than another's."""
    preset: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of every training, as `nulls_dist.pretrain --set` takes them."""
    control_settings: Mapping[Control, Mapping[str, Any]] = field(default_factory=dict)
    """Of a dense control besides: a narrow one learns slower, and must have converged to be
    compared."""
    max_collateral: float
    """Deletion budget: a small pool costs more than that of a real run."""

    @property
    def world_sources(self) -> int:
        """Sources of the world."""
        return self.articles + self.unseen

    @property
    def world_articles(self) -> int:
        """Articles that are invented."""
        collections = self.world_sources - (self.book_articles > 0)
        return collections * self.articles_per_source + self.book_articles

    @property
    def is_real(self) -> bool:
        """Whether its world is made of real text."""
        return self.article_characters > 0

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Models that are trained, in that order."""
        return ARMS if self.has_dense else (NULLS, RETRAINED)

    def num_trained(self, num_paragraphs: int) -> int:
        """Return how many of a real article's paragraphs models are trained on, the first ones."""
        whole = self.renderings + self.validation_renderings
        return num_paragraphs * self.renderings // whole

    def settings_of(self, arm: Arm) -> dict[str, Any]:
        """Return the settings of a training."""
        own = self.control_settings.get(arm.control, {}) if arm.control else {}
        return {**self.settings, **own}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


_TRAINING: Final = {"train.eval_every": 0, "train.save_every": 500, "train.keep_last": 1}
"""A training that was killed continues from its latest checkpoint; models are asked at the end."""
_LARGE_SOURCES: Final = {
    "model.first_sink_layer": 2,
    "model.sink_dropout": 0.05,
    "model.num_sinks": 2048,
    "model.num_active": 64,
}
"""Sources of much text need more sinks each, and a larger pool, lest all of them share all."""

SIZES: Final = {
    size.name: size
    for size in (
        Size(
            name="small",
            articles=48,
            deleted=4,
            unseen=12,
            kept_asked=12,
            unseen_asked=4,
            vocabulary=1000,
            preset="nulls_demo",
            settings=_TRAINING | {"train.steps": 300},
            control_settings={"active": {"train.steps": 800}},
            max_collateral=0.15,
        ),
        Size(
            name="standard",
            articles=300,
            deleted=15,
            unseen=30,
            kept_asked=30,
            unseen_asked=15,
            vocabulary=2000,
            preset="nulls_demo",
            settings=_TRAINING
            | {"train.steps": 5200, "model.first_sink_layer": 2, "model.sink_dropout": 0.05},
            control_settings={"active": {"train.steps": 6000}, "total": {"train.steps": 1300}},
            max_collateral=0.15,
        ),
        Size(
            name="large",
            articles=20_000,
            deleted=1000,
            unseen=1000,
            kept_asked=1000,
            unseen_asked=200,
            vocabulary=32_000,
            preset="nulls_125m",
            settings=_TRAINING,
            max_collateral=0.15,
        ),
        Size(
            name="coarse",
            articles=31,
            deleted=4,
            unseen=4,
            kept_asked=4,
            unseen_asked=1,
            renderings=3,
            articles_per_source=10,
            book_articles=30,
            vocabulary=2000,
            preset="nulls_demo",
            settings=_TRAINING | _LARGE_SOURCES | {"train.steps": 2000},
            max_collateral=0.3,
            has_dense=False,
        ),
        Size(
            name="real",
            articles=58,
            deleted=12,
            unseen=8,
            kept_asked=12,
            unseen_asked=4,
            article_characters=5000,
            vocabulary=4000,
            preset="nulls_demo",
            settings=_TRAINING | _LARGE_SOURCES | {"train.steps": 2600},
            max_collateral=0.3,
            has_dense=False,
        ),
    )
}
