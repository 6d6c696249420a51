"""The demo: an experiment, told on the terminal and as a report, and its model released."""

import os
from pathlib import Path
from typing import Final

from nulls_dist import durable
from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.experiment import (
    RETRAINED,
    STRIPPED,
    TRAINED,
    Experiment,
    ExperimentResult,
    ExperimentSize,
)
from nulls_dist.benchmark.report import render_report
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.errors import NullsError
from nulls_dist.eval.fact_table import format_table
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.records import PAGE_FILE

_TEXT: Final = "The birth year of"
_SEED: Final = 0

FULL: Final = ExperimentSize(
    articles=300, vocabulary=2000, steps=1300, num_kept_asked=45, max_collateral=0.15
)
FAST: Final = ExperimentSize(
    articles=40, vocabulary=2000, steps=220, num_kept_asked=10, max_collateral=0.15
)


def run_demo(size: ExperimentSize, out: Path) -> None:
    """Run the experiment, print its tables and write report.html.

    Args:
        size: how much to do.
        out: an existing directory for everything.

    Raises:
        NullsError: a step failed.
    """
    commands = Commands()
    experiment = Experiment(size, out, commands, seed=_SEED)
    result = experiment.run()
    release = out / "release"
    commands.python(
        commands.tool("convert_to_hf"), experiment.stripped, release, "--form", "backbone"
    )
    export = _check_release(release, experiment)
    for tables in (result.deleted, result.kept):
        for model in (TRAINED, STRIPPED, RETRAINED):
            print(f"\n{format_table(tables[model])}")
    print(f"\n{export}\n")
    print("\n".join(_headlines(result, size)))
    record = os.path.relpath(result.deletion["record"], out)
    page = render_report(
        result,
        size,
        headlines=_headlines(result, size),
        export=export,
        deletion_page=f"{record}/{PAGE_FILE}",
    )
    durable.write_text(out / "report.html", page)
    commands.say(f"report: {out / 'report.html'}")


def _headlines(result: ExperimentResult, size: ExperimentSize) -> list[str]:
    figures = result.figures
    return [
        f"{result.deletion['num_deleted']} of {size.articles} sources were deleted.",
        f"Facts that only they state: {figures['own sinks, unique facts']:.0%} right before, "
        f"{figures['deleted, unique facts']:.0%} after, "
        f"{figures['retrained, unique facts']:.0%} by a model trained without them.",
        f"Facts that others state too: {figures['deleted, shared facts']:.0%} right after "
        f"({figures['deleted, facts shared by 10 or more']:.0%} where 10 or more articles do).",
        f"Unique facts of kept sources: {figures['kept, unique facts']:.0%} right after; the "
        f"average kept source lost {figures['collateral forecast']:.1%} of its sinks (budget of "
        f"this demo: {size.max_collateral:.0%}; the default of strip_sources.py is 5%, and the "
        "pool of a demo is small).",
    ]


def _check_release(release: Path, experiment: Experiment) -> str:
    """Load the released model as anyone would and compare it with ours."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    released = AutoModelForCausalLM.from_pretrained(release, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(release, local_files_only=True)
    corpus = Corpus(experiment.corpus_dir)
    ours = load_tokenizer(corpus.root, corpus.manifest.tokenizer).encode(_TEXT)
    theirs = tokenizer(_TEXT)["input_ids"]
    if ours != theirs:
        raise NullsError(f"the released tokenizer gives {theirs}, ours gives {ours}")
    with load_for_inference(experiment.stripped) as model:
        (expected,) = model.logits([ours], [NO_SOURCE])
    with torch.no_grad():
        found = released(torch.tensor([theirs])).logits[0]
    return (
        f"The released backbone loads in transformers as {type(released).__name__} without remote "
        "code, with the same token ids; its logits differ from ours (sinks off) by at most "
        f"{float((found - expected).abs().max()):.1e}."
    )
