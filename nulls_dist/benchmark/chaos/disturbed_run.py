"""Trains a run to its end through everything that happens to it."""

import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.chaos.faults import Fault
from nulls_dist.benchmark.crew import Crew, Job
from nulls_dist.benchmark.topologies import Combination, training_arguments
from nulls_dist.checkpoint.lives import read_lives
from nulls_dist.errors import NullsError, TemporaryError
from nulls_dist.train.outcome import OUTCOME_FILE
from nulls_dist.train.run_files import PROMETHEUS_FILE, SAVE_FILE, STOP_FILE

SAVE_EVERY: Final = 20
_SETTINGS: Final = {
    "model.num_experts": 2,
    "train.global_batch_rows": 8,
    "train.eval_rows": 8,
    "train.async_save": True,
    "train.keep_last": 3,
    "report.exposure": True,
}
"""Those of nulls_tiny again, with what makes a run hard to disturb and easy to check."""
_SURVIVORS_S: Final = 20.0
"""What the other ranks have after one has died, before they are killed, as launchers do. One that
waits for the dead one in a save, or at the start, may take longer by itself."""
_TIMEOUT_S: Final = 7_200.0
"""For a life: on a busy machine it may take hours."""
_SAVE_S: Final = 300.0
"""What a run that is asked to stop has for it."""
_KILLED: Final = -signal.SIGKILL
_STOPPED: Final = TemporaryError.exit_code


@dataclass(frozen=True, kw_only=True, slots=True)
class Stroke:
    """A fault that happened."""

    kind: str
    life: int
    topology: str
    step: int
    """The last step that the life was known to have taken; 0 before its first one."""
    rank: int | None
    exit_codes: list[int | None] | None
    """None for a fault that ends no life, and for a rank that did not end by itself in time."""
    until_ended_s: float | None
    """From the fault to the end of the last rank."""


@dataclass(kw_only=True)
class Disturbance:
    """What happened to a run."""

    strokes: list[Stroke] = field(default_factory=list)
    broken_promises: list[str] = field(default_factory=list)
    """How a life ended otherwise than promised: exit codes, outcome, a switch that stayed."""
    seconds: float = 0.0


class DisturbedRun:
    """One run and what happens to it."""

    def __init__(
        self, run_dir: Path, corpus: Path, *, steps: int, topologies: Sequence[Combination]
    ) -> None:
        """Begin nothing yet.

        Args:
            run_dir: of the run.
            corpus: to train on.
            steps: of the run.
            topologies: of its lives, in turn.
        """
        self._run_dir = run_dir
        self._corpus = corpus
        self._steps = steps
        self._topologies = topologies
        self._crew = Crew(timeout_s=_TIMEOUT_S)
        self._result = Disturbance()

    def train(self, faults: Sequence[Fault]) -> Disturbance:
        """Train to the last step; faults strike in their order.

        Raises:
            NullsError: a life failed that nothing had happened to.
        """
        began = time.monotonic()
        waiting = deque(faults)
        for number in count():
            topology = self._topologies[number % len(self._topologies)]
            life_number = len(read_lives(self._run_dir)) + 1
            life = self._start(topology)
            fault = self._disturb(life, life_number, topology, waiting)
            if fault is None:
                self._end(life)
                break
        for fault in waiting:
            self._break(fault, "the run was at its end before")
        self._result.seconds = time.monotonic() - began
        return self._result

    def _start(self, topology: Combination) -> Job:
        arguments = training_arguments(
            Combination(
                name=topology.name,
                processes=topology.processes,
                settings={**_SETTINGS, **topology.settings},
            ),
            *(self._corpus, self._run_dir),
            steps=self._steps,
            save_every=SAVE_EVERY,
        )
        logs = self._run_dir.with_name(f"{self._run_dir.name}-logs")
        return self._crew.start(arguments, num_ranks=topology.processes, logs=logs)

    def _disturb(
        self, life: Job, number: int, topology: Combination, waiting: deque[Fault]
    ) -> Fault | None:
        """Let faults strike until one ends the life; return it, None if none did."""
        while waiting:
            fault = waiting[0]
            starts = fault.kind == "kill at start"
            is_due = partial(self._is_after, number, fault.after_step)
            if not starts and not life.wait_until(is_due):
                return None
            waiting.popleft()
            time.sleep(fault.delay_s)
            known = self._progress()
            step = known["nulls_step"] if known["nulls_life"] == number else 0
            stroke = self._strike(life, fault)
            self._result.strokes.append(
                Stroke(
                    kind=fault.kind, life=number, topology=topology.name, step=int(step), **stroke
                )
            )
            if fault.kind != "SAVE":
                return fault
        return None

    def _strike(self, life: Job, fault: Fault) -> dict[str, Any]:
        rank = fault.draw % len(life.ranks)
        began = time.monotonic()
        if fault.kind == "SAVE":
            path = self._run_dir / SAVE_FILE
            path.touch()
            if not life.wait_until(lambda: not path.exists()):
                self._break(fault, f"{path.name} is not answered")
            return {"rank": None, "exit_codes": None, "until_ended_s": None}
        if fault.kind == "STOP":
            (self._run_dir / STOP_FILE).touch()
        else:
            is_kill = fault.kind != "preemption"
            life.send(signal.SIGKILL if is_kill else signal.SIGTERM, rank)
        codes = life.wait(_SURVIVORS_S if "kill" in fault.kind else _SAVE_S)
        self._check_end(fault, codes, rank)
        return {
            "rank": None if fault.kind == "STOP" else rank,
            "exit_codes": codes,
            "until_ended_s": round(time.monotonic() - began, 2),
        }

    def _check_end(self, fault: Fault, codes: list[int | None], rank: int) -> None:
        if fault.kind in ("kill", "kill at start"):
            if codes[rank] != _KILLED or 0 in codes:
                self._break(fault, f"exit codes {codes}, rank {rank} was killed")
            return
        outcome = self._outcome()
        expected = "halted" if fault.kind == "STOP" else "stopped"
        if (set(codes), outcome) != ({_STOPPED}, expected):
            self._break(fault, f"exit codes {codes}, outcome {outcome}")
        if (self._run_dir / STOP_FILE).exists():
            self._break(fault, f"{STOP_FILE} is still there")

    def _break(self, fault: Fault, what: str) -> None:
        self._result.broken_promises.append(f"{fault.kind} after step {fault.after_step}: {what}")

    def _end(self, life: Job) -> None:
        codes = life.wait()
        outcome = self._outcome()
        if set(codes) != {0} or outcome != "done":
            raise NullsError(f"{self._run_dir}: {outcome}, exit codes {codes}: {life.said()}")

    def _outcome(self) -> str:
        path = self._run_dir / OUTCOME_FILE
        return path.read_text(encoding="utf-8").strip() if path.exists() else "none"

    def _is_after(self, life: int, step: int) -> bool:
        known = self._progress()
        return known["nulls_life"] == life and known["nulls_step"] >= step

    def _progress(self) -> dict[str, float]:
        """Return life and step as a dashboard would see them."""
        path = self._run_dir / PROMETHEUS_FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        values = {"nulls_life": 0.0, "nulls_step": 0.0}
        for line in lines:
            name, _, rest = line.partition("{")
            if name in values:
                values[name] = float(rest.rpartition(" ")[2])
        return values
