"""One experiment: train, delete, train again without the deleted sources, ask all three models."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.generated import build_generated, draw_sources, write_request
from nulls_dist.checkpoint.store import list_checkpoints
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import FACTS_FILE
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.eval.fact_table import FactTable, measure_facts
from nulls_dist.eval.facts import Probe, read_probes
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.states import State

_DELETED_SHARE: Final = 0.05
_EVALUATIONS: Final = 10

TRAINED: Final = "trained"
STRIPPED: Final = "stripped"
RETRAINED: Final = "retrained"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentSize:
    """How much an experiment does."""

    articles: int
    vocabulary: int
    """Upper bound of the trained tokenizer."""
    steps: int
    num_kept_asked: int
    """Surviving sources that are questioned."""
    max_collateral: float
    """Deletion budget: the pool is small, so a few sources cost more than in a real run."""


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """What an experiment found."""

    deleted: Mapping[str, FactTable]
    """Model -> what it knows of the deleted sources."""
    kept: Mapping[str, FactTable]
    """Model -> what it knows of sources that were kept."""
    deletion: dict[str, Any]
    """The report of strip_sources."""
    metrics: Mapping[str, list[dict[str, Any]]]
    """Training runs -> metrics per step."""

    @property
    def figures(self) -> dict[str, float]:
        """Return the figures that sum an experiment up.

        isolation is the share of what the sources added that deletion took away:
        (own - deleted) / (own - retrained), on unique facts, retrained with sinks off.
        """
        own = self.deleted[TRAINED].mean(State.ON, "unique")
        gone = self.deleted[STRIPPED].mean(State.ON, "unique")
        retrained = self.deleted[RETRAINED].mean(State.OFF, "unique")
        return {
            "own sinks, unique facts": own,
            "deleted, unique facts": gone,
            "retrained, unique facts": retrained,
            "deleted minus retrained": gone - retrained,
            "isolation": (own - gone) / (own - retrained),
            "deleted, shared facts": self.deleted[STRIPPED].mean(State.OFF, "shared"),
            "deleted, facts shared by 10 or more": self.deleted[STRIPPED].mean(
                State.OFF, "shared by 10", "shared by 30"
            ),
            "kept, unique facts": self.kept[STRIPPED].mean(State.ON, "unique"),
            "collateral forecast": self.deletion["collateral"]["mean"],
            "collateral found": self.kept[TRAINED].mean(State.ON, "unique")
            - self.kept[STRIPPED].mean(State.ON, "unique"),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Questions:
    deleted_ids: list[int]
    deleted: list[Probe]
    kept: list[Probe]


class Experiment:
    """One experiment inside a directory."""

    def __init__(self, size: ExperimentSize, out: Path, commands: Commands, *, seed: int) -> None:
        """Prepare the paths; `run` does the work.

        Args:
            size: how much to do.
            out: an existing directory.
            commands: runs the commands.
            seed: of the encyclopedia and of the model.
        """
        self._size = size
        self._out = out
        self._commands = commands
        self._seed = seed
        self.corpus_dir = out / "corpus"
        self.stripped = out / "stripped"

    def run(self) -> ExperimentResult:
        """Run everything.

        Raises:
            NullsError: a command failed.
        """
        self._build(self.corpus_dir, "--tokenizer", f"train:bpe:{self._size.vocabulary}")
        corpus = Corpus(self.corpus_dir)
        trained = self._pretrain(self.corpus_dir, self._out / "run")
        questions = self._choose(corpus)
        request = self._write_request(questions.deleted_ids)
        deletion = self._delete(trained, request)
        without = self._out / "corpus-without"
        tokenizer = self.corpus_dir / corpus.manifest.tokenizer.file
        self._build(without, "--tokenizer", tokenizer, "--exclude", request)
        retrained = self._pretrain(without, self._out / "run-without")
        models = {TRAINED: trained, STRIPPED: self.stripped, RETRAINED: retrained}
        tables = {
            name: self._ask(name, checkpoint, corpus, questions)
            for name, checkpoint in models.items()
        }
        return ExperimentResult(
            deleted={name: pair[0] for name, pair in tables.items()},
            kept={name: pair[1] for name, pair in tables.items()},
            deletion=deletion,
            metrics={
                TRAINED: _read_metrics(self._out / "run"),
                RETRAINED: _read_metrics(self._out / "run-without"),
            },
        )

    def _build(self, out: Path, *options: Any) -> None:
        build_generated(
            self._commands, out, *options, articles=self._size.articles, seed=self._seed
        )

    def _pretrain(self, corpus_dir: Path, run_dir: Path) -> Path:
        steps = self._size.steps
        settings = {
            "train.steps": steps,
            "train.save_every": steps,
            "train.eval_every": steps // _EVALUATIONS,
        }
        self._commands.python(
            *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2),
            *("-m", "nulls_dist.pretrain", "--preset", "nulls_demo", "--data", corpus_dir),
            *("--run-dir", run_dir, "--seed", self._seed),
            *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
        )
        return list_checkpoints(run_dir)[-1]

    def _choose(self, corpus: Corpus) -> _Questions:
        """Draw the sources to delete, and some to keep, by a hash."""
        drawn = draw_sources(np.unique(corpus.source_ids), seed=self._seed)
        count = max(1, round(_DELETED_SHARE * len(drawn)))
        kept = drawn[count : count + self._size.num_kept_asked]
        facts = self.corpus_dir / FACTS_FILE
        return _Questions(
            deleted_ids=drawn[:count],
            deleted=read_probes(facts, drawn[:count]),
            kept=read_probes(facts, kept),
        )

    def _write_request(self, source_ids: list[int]) -> Path:
        request = self._out / "sources.txt"
        write_request(self.corpus_dir, source_ids, request)
        return request

    def _delete(self, checkpoint: Path, request: Path) -> dict[str, Any]:
        text = self._commands.python(
            *(self._commands.tool("strip_sources"), checkpoint, request, "--out", self.stripped),
            *("--max-collateral", self._size.max_collateral, "--json"),
            *("--questions", self.corpus_dir / FACTS_FILE),
        )
        report: dict[str, Any] = json.loads(text)
        return report

    def _ask(
        self, name: str, checkpoint: Path, corpus: Corpus, questions: _Questions
    ) -> tuple[FactTable, FactTable]:
        """Ask about the deleted and the kept sources, tombstones ignored."""
        self._commands.say(f"asking the {name} model")
        tokenizer = load_tokenizer(corpus.root, corpus.manifest.tokenizer)
        with load_for_inference(checkpoint, route_deleted=True) as model:
            deleted, kept = (
                measure_facts(
                    f"{which} sources, {name} model",
                    model,
                    corpus,
                    tokenizer,
                    probes,
                    states=list(State),
                    deleted=questions.deleted_ids,
                )
                for which, probes in (("deleted", questions.deleted), ("kept", questions.kept))
            )
        return deleted, kept


def _read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
