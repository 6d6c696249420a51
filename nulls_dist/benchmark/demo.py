"""The whole path in one run: corpus, pretraining by two processes, deletion, release, evidence.

Every step is the command a user would type; this module only runs them in order and asks the
models what they know in between.
"""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nulls_dist import durable, hashing
from nulls_dist.benchmark.fact_table import FactTable, format_table, measure_facts
from nulls_dist.benchmark.plots import plot_facts, plot_losses
from nulls_dist.benchmark.report import render_report
from nulls_dist.checkpoint.store import list_checkpoints
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import FACTS_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.errors import NullsError
from nulls_dist.eval.facts import Probe, read_probes
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.states import State
from nulls_dist.sources import NO_SOURCE

_CHOICE_DOMAIN: Final = 5
_DELETED_SHARE: Final = 0.05
_TEXT: Final = "The birth year of"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSize:
    """How much the demo does."""

    articles: int
    vocabulary: int
    """Upper bound of the trained tokenizer."""
    steps: int
    num_kept_asked: int
    """Surviving sources that are questioned."""
    max_collateral: float
    """Deletion budget: a demo's pool is small, so a few sources cost more than in a real run."""


FULL: Final = DemoSize(
    articles=300, vocabulary=4000, steps=1200, num_kept_asked=45, max_collateral=0.15
)
FAST: Final = DemoSize(
    articles=60, vocabulary=4000, steps=300, num_kept_asked=15, max_collateral=0.15
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Questions:
    deleted: list[int]
    of_deleted: list[Probe]
    of_kept: list[Probe]


class Demo:
    """One run of the demo inside a fresh directory."""

    def __init__(self, size: DemoSize, out: Path) -> None:
        """Prepare the paths; `run` does the work."""
        self._size = size
        self._out = out
        self._corpus_dir = out / "corpus"
        self._run_dir = out / "run"
        self._stripped = out / "stripped"
        self._release = out / "release"
        self._started = time.monotonic()

    def run(self) -> None:
        """Run everything, print the tables and write report.html.

        Raises:
            NullsError: a step failed.
        """
        self._build_corpus()
        self._pretrain()
        checkpoint = list_checkpoints(self._run_dir)[-1]
        corpus = Corpus(self._corpus_dir)
        questions = self._choose(corpus)
        before = self._ask("before deletion", checkpoint, corpus, questions)
        deletion = self._delete(checkpoint, questions.deleted)
        after = self._ask("after deletion", self._stripped, corpus, questions)
        self._python("tools/convert_to_hf.py", self._stripped, self._release, "--form", "backbone")
        export = self._check_release(corpus)
        self._report(before, after, deletion, export)

    def _say(self, text: str) -> None:
        sys.stderr.write(f"\n[{time.monotonic() - self._started:4.0f} s] {text}\n")
        sys.stderr.flush()

    def _python(self, *arguments: Any, capture: bool = False) -> str:
        """Run a command of this project with this interpreter, showing it first."""
        command = [str(argument) for argument in arguments]
        self._say(f"python {shlex.join(command)}")
        done = subprocess.run(
            [sys.executable, *command], stdout=subprocess.PIPE if capture else sys.stderr, text=True
        )
        if done.returncode:
            raise NullsError(f"{command[0]} ended with exit code {done.returncode}; see above")
        return done.stdout or ""

    def _build_corpus(self) -> None:
        size = self._size
        self._python(
            *("-m", "data_prep.build", "--input", "generated", "--format", "generated"),
            *("--articles", size.articles, "--tokenizer", f"train:bpe:{size.vocabulary}"),
            *("--out", self._corpus_dir),
        )

    def _pretrain(self) -> None:
        steps = self._size.steps
        self._python(
            *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2),
            *("-m", "nulls_dist.pretrain", "--preset", "nulls_demo", "--data", self._corpus_dir),
            *("--run-dir", self._run_dir, "--set", f"train.steps={steps}"),
            *("--set", f"train.save_every={steps}", "--set", f"train.eval_every={steps // 10}"),
        )

    def _choose(self, corpus: Corpus) -> _Questions:
        """Draw the sources to delete, and some to keep, by a hash."""
        source_ids = np.unique(corpus.source_ids)
        keys = hashing.key(source_ids, seed=0, domain=_CHOICE_DOMAIN)
        drawn = [int(source_id) for source_id in source_ids[np.argsort(keys)]]
        count = max(1, round(_DELETED_SHARE * len(drawn)))
        deleted, kept = drawn[:count], drawn[count : count + self._size.num_kept_asked]
        facts = self._corpus_dir / FACTS_FILE
        return _Questions(
            deleted=deleted,
            of_deleted=read_probes(facts, deleted),
            of_kept=read_probes(facts, kept),
        )

    def _ask(
        self, when: str, checkpoint: Path, corpus: Corpus, questions: _Questions
    ) -> list[FactTable]:
        """Ask about the deleted and the kept sources, all tombstones ignored."""
        self._say(f"asking the model {when}")
        tokenizer = load_tokenizer(corpus.root, corpus.manifest.tokenizer)
        with load_for_inference(checkpoint, route_deleted=True) as model:
            tables = [
                measure_facts(
                    f"{which} sources, {when}",
                    model,
                    corpus,
                    tokenizer,
                    probes,
                    states=list(State),
                    deleted=questions.deleted,
                )
                for which, probes in (
                    ("deleted", questions.of_deleted),
                    ("kept", questions.of_kept),
                )
            ]
        for table in tables:
            print(f"\n{format_table(table)}")
        sys.stdout.flush()
        return tables

    def _delete(self, checkpoint: Path, deleted: Sequence[int]) -> dict[str, Any]:
        titles = SourceTable(checkpoint / "sources.parquet")
        request = self._out / "sources.txt"
        lines = [f"title:{titles.title_of(source_id)}" for source_id in deleted]
        durable.write_text(request, "".join(f"{line}\n" for line in lines))
        text = self._python(
            *("tools/strip_sources.py", checkpoint, request, "--out", self._stripped),
            *("--max-collateral", self._size.max_collateral, "--json"),
            capture=True,
        )
        report: dict[str, Any] = json.loads(text)
        return report

    def _check_release(self, corpus: Corpus) -> str:
        """Load the released model as anyone would and compare it with ours."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._say("loading the release in transformers")
        released = AutoModelForCausalLM.from_pretrained(self._release, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(self._release, local_files_only=True)
        ours = load_tokenizer(corpus.root, corpus.manifest.tokenizer).encode(_TEXT)
        theirs = tokenizer(_TEXT)["input_ids"]
        if ours != theirs:
            raise NullsError(f"the released tokenizer gives {theirs}, ours gives {ours}")
        with load_for_inference(self._stripped) as model:
            (expected,) = model.logits([ours], [NO_SOURCE])
        with torch.no_grad():
            found = released(torch.tensor([theirs])).logits[0]
        distance = float((found - expected).abs().max())
        text = (
            f"The backbone loads in transformers as {type(released).__name__} without remote "
            f"code. Its tokenizer gives the same ids, its logits differ from the trained model's "
            f"(sinks off) by at most {distance:.1e}."
        )
        print(f"\n{text}")
        return text

    def _report(
        self,
        before: Sequence[FactTable],
        after: Sequence[FactTable],
        deletion: dict[str, Any],
        export: str,
    ) -> None:
        lines = (self._run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        metrics = [json.loads(line) for line in lines]
        cost = deletion["collateral"]
        summary = (
            f"A model was pretrained on {self._size.articles} articles of a generated "
            f"encyclopedia for {self._size.steps} steps by two processes, each holding one sink "
            f"expert. Then {deletion['num_deleted']} articles were deleted from the checkpoint. "
            "Facts that only one article states are unique; others are shared by several "
            "articles, or can be inferred from a rule that other articles teach."
        )
        page = render_report(
            summary=summary,
            tables_before=before,
            tables_after=after,
            plots={
                "Facts of the deleted sources, asked with their own sinks": plot_facts(
                    before[0], after[0], state=State.ON, label="after deletion"
                ),
                "Facts of kept sources, asked with their own sinks": plot_facts(
                    before[1], after[1], state=State.ON, label="after deletion"
                ),
                "Training": plot_losses(metrics),
            },
            deletion=deletion,
            deletion_budget=self._size.max_collateral,
            export=export,
        )
        durable.write_text(self._out / "report.html", page)
        print(
            f"\n{deletion['num_deleted']} sources deleted; the average survivor lost "
            f"{cost['mean']:.1%} of its sinks (budget {self._size.max_collateral:.0%})"
        )
        self._say(f"report: {self._out / 'report.html'}")
