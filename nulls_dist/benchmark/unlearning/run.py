"""`run`: train, delete, ask, and compare with the targets."""

from pathlib import Path

from nulls_dist.benchmark.unlearning.lab import begin_lab
from nulls_dist.benchmark.unlearning.real_text import Texts
from nulls_dist.benchmark.unlearning.report import report
from nulls_dist.benchmark.unlearning.results import format_results, write_results
from nulls_dist.benchmark.unlearning.schedule import do_steps
from nulls_dist.benchmark.unlearning.sizes import SIZES, Size
from nulls_dist.errors import ConfigError


def run(
    *,
    size: str,
    num_seeds: int,
    out: Path,
    jobs: int,
    dump: Path | None = None,
    questions: Path | None = None,
) -> None:
    """Run a benchmark of a named size; arguments as `run_size`, the texts as two files."""
    texts = _choose_texts(SIZES[size], dump, questions)
    run_size(SIZES[size], num_seeds=num_seeds, out=out, jobs=jobs, texts=texts)


def run_size(
    size: Size, *, num_seeds: int, out: Path, jobs: int, texts: Texts | None = None
) -> None:
    """Run a benchmark, or what is left of one that was killed; print its table and write its page.

    Args:
        size: how much it does.
        num_seeds: worlds and initial values; more may be added to a benchmark that is done.
        out: its directory.
        jobs: models that are trained or asked at once.
        texts: what a world of real text is made of; None for a generated one.

    Raises:
        InputError: the directory is of another benchmark.
        NullsError: a step failed.
    """
    lab = begin_lab(out, size)
    do_steps(lab, num_seeds=num_seeds, jobs=jobs, texts=texts)
    results = write_results(lab, num_seeds=num_seeds)
    lab.commands.say(f"results: {out / 'results.json'}")
    print(format_results(results))
    report(out=out)


def _choose_texts(size: Size, dump: Path | None, questions: Path | None) -> Texts | None:
    """Return the files of a world of real text, and none for a generated one.

    Raises:
        ConfigError: they are named where none are needed, or not where they are.
        InputError: one is missing.
    """
    if not size.is_real:
        if dump or questions:
            raise ConfigError(
                f"--dump and --questions are for --size real; leave them out with --size "
                f"{size.name}, whose world is generated"
            )
        return None
    if dump is None or questions is None:
        raise ConfigError(
            f"--size {size.name} needs --dump, a Wikipedia dump, and --questions, articles with "
            "questions (docs/unlearning_metrics.md says in which format)"
        )
    texts = Texts(dump=dump, questions=questions)
    texts.check()
    return texts
