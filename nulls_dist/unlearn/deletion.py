"""A deletion from the naming of sources to the signed report, over a checkpoint or a whole run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from nulls_dist.checkpoint.format import Grade
from nulls_dist.checkpoint.shapes import check_has_sinks
from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import check_absent, check_outside
from nulls_dist.errors import InputError
from nulls_dist.source_list import Request
from nulls_dist.unlearn.by_manifests import resolve_manifests
from nulls_dist.unlearn.corpus_plan import CorpusPlan, bind_texts, plan_corpus
from nulls_dist.unlearn.evidence import Evidence
from nulls_dist.unlearn.plan import DeletionPlan, check_budget, open_sources, plan_deletion
from nulls_dist.unlearn.records import record_deletion
from nulls_dist.unlearn.report import DeletionReport, report_plan, report_result
from nulls_dist.unlearn.request import RequestRecord
from nulls_dist.unlearn.resolutions import check_resolved, matched_ids
from nulls_dist.unlearn.resolve import resolve_requests
from nulls_dist.unlearn.strip import WrittenCheckpoint, stripped_checkpoint, stripped_checkpoints
from nulls_dist.unlearn.strip_corpus import WrittenCorpus, stripped_corpus

Plans = Sequence[tuple[Checkpoint, DeletionPlan]]


class Deletion:
    """A planned deletion; nothing is written before `execute`.

    Attributes:
        checkpoint: to delete from.
        table: its sources.
        plan: what would be done to it.
        corpus_plan: what would be done to a corpus, where one was named.
        report: all this, as a report says it.
    """

    def __init__(
        self,
        root: Path,
        named: Sequence[Request] | Path,
        grade: Grade,
        *,
        exact: bool = False,
        corpus: Path | None = None,
    ) -> None:
        """Find the sources and weigh their deletion.

        Args:
            root: directory of the checkpoint.
            named: lines that name the sources, or a directory with their manifests.
            grade: EXCISED or SUPPRESSED.
            exact: measure the collateral of every survivor, not of a sample of very many.
            corpus: directory of a corpus that is to lose the sources too.

        Raises:
            InputError: `root` is no checkpoint, its model has no sinks, there are no manifests, or
                the corpus is not the checkpoint's.
            IntegrityError: checkpoint or corpus are damaged, or a manifest contradicts it.
        """
        self.checkpoint = Checkpoint(root)
        self.table: SourceTable = open_sources(self.checkpoint)
        check_has_sinks(self.checkpoint)
        origin = None
        if isinstance(named, Path):
            self._resolutions, origin = resolve_manifests(self.checkpoint, self.table, named)
        else:
            self._resolutions = resolve_requests(self.table, named)
        self.plan = plan_deletion(
            self.checkpoint, self.table, matched_ids(self._resolutions), grade, exact=exact
        )
        self.corpus_plan: CorpusPlan | None = None
        if corpus is not None:
            manifest = self.checkpoint.manifest
            self.corpus_plan = plan_corpus(corpus, manifest, self.plan.tombstones)
            self.plan = self._bind(self.plan)
        self.report = report_plan(
            self.checkpoint,
            self.table,
            self._resolutions,
            self.plan,
            origin=origin,
            corpus=self.corpus_plan,
        )

    def check(self, *, allow_unknown: bool, max_collateral: float) -> None:
        """Refuse what must not be done.

        Raises:
            UnknownSourceError: a line does not name one source.
            RefusedError: the others would lose too much.
        """
        check_resolved(self._resolutions, allow_unknown=allow_unknown)
        check_budget(self.plan, max_collateral)

    def execute(
        self,
        out: Path,
        records: Path,
        request: RequestRecord,
        *,
        whole_run: bool = False,
        corpus_out: Path | None = None,
        measure: Callable[[Path], Evidence] | None = None,
    ) -> tuple[DeletionReport, Path]:
        """Write the output and, before it appears, the report and the ledger's entry.

        Args:
            out: directory that appears: the checkpoint, or with `whole_run` all of the run's
                checkpoints, each under its name.
            records: directory of the records.
            request: the paperwork.
            whole_run: delete from every checkpoint that the run retains.
            corpus_out: directory that appears with the corpus, where one was planned for.
            measure: asks the written checkpoint about the sources.

        Returns:
            The report, and the folder it was written to.

        Raises:
            InputError: an output exists, or the checkpoint is not one of a run's.
            IntegrityError: a file is damaged, or does not verify.
            LockedError: another process is writing an output.
        """
        others = self._plan_others() if whole_run else []
        check_absent(out)
        with (
            self._written_corpus(corpus_out) as corpus,
            self._written(others, out, whole_run=whole_run) as (*replaced, written),
        ):
            evidence = measure(written.partial) if measure else None
            report = report_result(
                self.report,
                self.checkpoint,
                written,
                replaced=replaced,
                corpus=corpus,
                request=request,
                evidence=evidence,
                now=datetime.now(UTC),
            )
            return record_deletion(records, report)

    def _plan_others(self) -> Plans:
        """Plan the same deletion for the other checkpoints of the run, oldest first."""
        root = self.checkpoint.root.resolve()
        retained = [path.resolve() for path in list_checkpoints(root.parent.parent)]
        if root not in retained:
            raise InputError(
                f"{self.checkpoint.root} is not a checkpoint of a run (RUN/checkpoints/step-...), "
                "so there are no others to delete from; leave --all-checkpoints out"
            )
        sources = (*self.plan.deleted, *self.plan.already)
        others = [Checkpoint(path) for path in retained if path != root]
        return [
            (other, self._bind(plan_deletion(other, open_sources(other), sources, self.plan.grade)))
            for other in others
        ]

    def _bind(self, plan: DeletionPlan) -> DeletionPlan:
        """Return a plan whose tombstones name the texts that the corpus has of their sources."""
        if self.corpus_plan is None:
            return plan
        tombstones = bind_texts(plan.tombstones, self.corpus_plan.text_digests)
        return replace(plan, tombstones=tombstones)

    @contextmanager
    def _written_corpus(self, out: Path | None) -> Iterator[WrittenCorpus | None]:
        """Yield the corpus without the sources, None where none was planned; publish likewise."""
        if self.corpus_plan is None:
            yield None
            return
        assert out is not None, "a corpus that was planned for needs a place"
        check_outside(out, self.checkpoint.root)
        with stripped_corpus(self.corpus_plan, out) as written:
            yield written

    @contextmanager
    def _written(
        self, others: Plans, out: Path, *, whole_run: bool
    ) -> Iterator[list[WrittenCheckpoint]]:
        """Yield what was written, this checkpoint last; publish it when the block ends."""
        if whole_run:
            plans = [*others, (self.checkpoint, self.plan)]
            with stripped_checkpoints(plans, out) as written:
                yield written
        else:
            with stripped_checkpoint(self.checkpoint, self.plan, out) as alone:
                yield [alone]
