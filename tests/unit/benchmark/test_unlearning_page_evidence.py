"""The page's sections on attacks, relearning, deletions and sweeps, from files of the real code."""

import copy
import json
import re
from dataclasses import replace
from math import exp

import pytest

from nulls_dist import durable
from nulls_dist.attacks.relearning import RelearningCurve, RelearningOptions
from nulls_dist.benchmark.drawing import paper_style
from nulls_dist.benchmark.unlearning import curve_results, figures, sweep_results, tables
from nulls_dist.benchmark.unlearning.attack_results import write_attacks
from nulls_dist.benchmark.unlearning.attacked import ATTACKED, attack_step
from nulls_dist.benchmark.unlearning.curve_results import deletion_entry, shared_entries
from nulls_dist.benchmark.unlearning.lab import begin_lab
from nulls_dist.benchmark.unlearning.page.attacks import build_attacks
from nulls_dist.benchmark.unlearning.page.deletions import build_deletions
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.relearning import build_relearning
from nulls_dist.benchmark.unlearning.page.render import render_report
from nulls_dist.benchmark.unlearning.page.sweeps import build_sweeps
from nulls_dist.benchmark.unlearning.relearned import CURVES
from nulls_dist.benchmark.unlearning.sizes import SIZES
from nulls_dist.errors import InputError
from nulls_dist.eval.metrics import intervals
from nulls_dist.eval.metrics.compression import COMPRESSION_RATIO
from nulls_dist.eval.metrics.likelihood import ANSWER_ACCURACY, PERPLEXITY
from nulls_dist.eval.metrics.result import Interval, MetricResult
from tests.unit.benchmark.test_unlearning_figures import answer, evidence_of

HOSTILE = "<script>alert('$x_1$')</script>&"
SEEDS = (0, 1)
RIGHT = {"suppressed": 0.9, "excised": 0.2, "retrained": 0.1, "dense": 0.8}
RETRAINED = (0.0, 0.25, 0.5, 0.75, 1.0)
BACK = {
    ("own sinks", "excised"): (0.0, 0.5, 1.0, 1.0, 1.0),
    ("backbone", "excised"): (0.0, 0.0, 0.0, 0.0, 0.25),
    ("own sinks", "down rows zero"): (0.0, 1.0, 1.0, 1.0, 1.0),
}
"""Right answers at each step; all other models answer as the retrained one."""


def measured(metric, value, group):
    interval = Interval(low=value, high=value + 0.1, confidence=0.95, num_sources=4, method="m")
    return MetricResult(metric=metric, group=group, value=value, n=10, interval=interval).to_dict()


def record(*results, reason=None):
    return {"num_sources": 4, "not_applicable": reason, "results": list(results), "seconds": 1.0}


def setting(name, *results):
    return {"attack": "any", "setting": name, "options": {}, "results": list(results)}


def attack_records(model):
    """Records of attacks on a model: the dense retrained one is attacked by formats alone."""
    right = RIGHT.get(model, 0.1)
    group = "unique, seen phrasing"
    formats = [
        setting("list", measured(ANSWER_ACCURACY, right, group)),
        setting("question", measured(ANSWER_ACCURACY, right / 2, group)),
    ]
    yield "formats", record(*formats)
    if model == "dense retrained":
        return
    ratio = measured(COMPRESSION_RATIO, 1 + right, "sentences of facts")
    yield "optimized prompts", record(setting("sentences of facts", ratio))
    if model == "dense":
        yield "covering survivors", record(reason=HOSTILE)
    else:
        union = measured(ANSWER_ACCURACY, 0.0, group)
        yield "covering survivors", record(setting("union", union))


def curve_record(curve):
    """Record of a curve; there is no text of the kind "third"."""
    if curve.text == "third":
        return {"curve": None, "not_applicable": HOSTILE, "seconds": 1.0}
    values = BACK.get((curve.access, curve.model), RETRAINED)
    if curve.only_asked:
        values = (1.0,)
    steps = len(values) - 1
    taken = RelearningCurve(
        options=RelearningOptions(access=curve.access, steps=steps, ask_every=1),
        num_documents=3,
        num_probes={"unique": 10},
        steps=tuple(range(steps + 1)),
        accuracy={"unique": values},
        loss_nats=(1.0,) * steps,
    )
    return {"curve": taken.to_dict(), "not_applicable": None, "seconds": 1.0}


def make_attacks(lab):
    for seed in SEEDS:
        records = {
            attack_step(name, attacked): each
            for attacked in ATTACKED
            for name, each in attack_records(attacked.name)
        }
        records |= {curve.step: curve_record(curve) for part in CURVES for curve in part}
        for step, each in records.items():
            path = lab.record(seed, step)
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.write_json(path, each)
    write_attacks(lab, num_seeds=len(SEEDS))


def make_curves(root):
    """Deletions of one source and of all; a fact of three sources of which two or none is left."""
    kept = {"group": "kept", "remaining": 1}
    nearest = replace(figures.EXCISED_OWN, state="nearest")
    before = [
        answer(figures.OWN, 1, 0, correct=True),
        answer(figures.RETRAINED_OFF, 1, 0, correct=False),
        answer(figures.RETRAINED_NEAREST, 1, 0, correct=False),
        answer(figures.OWN, 2, 0, correct=True, **kept),
    ]
    after = [
        answer(figures.EXCISED_OWN, 1, 0, correct=False),
        answer(nearest, 1, 0, correct=False),
        answer(figures.EXCISED_OWN, 2, 0, correct=False, **kept),
    ]
    forecast = {"pool_wiped": 0.1, "mean_lost_share": 0.2, "lost_share": {"2": 0.2}}
    shared = {"kind": "shared", "multiplicity": 3, "taught": 3}
    parts = {
        "before": before,
        "after": after,
        "shared": [
            answer(figures.OFF, 1, left, correct=left > 0, remaining=left, **shared)
            for left in (0, 2)
        ],
    }
    for name in parts:
        (root / name).mkdir()
    evidence = {name: evidence_of(root / name, rows) for name, rows in parts.items()}
    deletions = [
        deletion_entry(
            evidence["before"],
            evidence["after"].answers,
            {0: {**forecast, "num_deleted": count, "num_kept": 30 - count}},
        )
        for count in (1, 20)
    ]
    return {
        "format_version": curve_results.FORMAT_VERSION,
        "seeds": [0],
        "deleted_sources": deletions,
        "shared_facts": list(shared_entries(evidence["shared"].answers)),
    }


def swept(name, value, **changed):
    """A model with a setting; without a retrained one unless it is the benchmark's own."""
    cells = {}
    for column, figure in sweep_results.COLUMNS.items():
        metric, found = (
            (PERPLEXITY, exp(2)) if column.startswith("loss") else (ANSWER_ACCURACY, 0.5)
        )
        result = MetricResult(metric=metric, group="", value=found, n=7, interval=None)
        cells[column] = sweep_results.cell(figure, result)
    if name is not None:
        cells |= {"isolation off": None, "isolation nearest": None, "rules - retrained": None}
    model = {"num_active": 8, "num_sinks": 256, "per_layer": True, **changed}
    shown = {"setting": name, "value": value, "configuration": {"model": model}}
    load = 300 * model["num_active"] / model["num_sinks"]
    measured = [{"seeds": [0], "seconds": [12.5], "figures": cells}]
    if "num_active" in changed or name is None:
        measured += [{"seeds": [0, 1], "seconds": [12.5, 13.0], "figures": cells}]
    return {**shown, "load": load, "measured": measured}


SWEEPS = {
    "format_version": sweep_results.FORMAT_VERSION,
    "models": [
        swept(None, None),
        swept("model.num_active", "16", num_active=16),
        swept("model.num_active", "4", num_active=4),
        swept("model.num_sinks", "64", num_sinks=64),
        swept("model.per_layer", "false", per_layer=False),
        swept("model.num_active", "4+model.sink_dropout=0.1", sink_dropout=0.1),
    ],
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A benchmark that has asked nothing, but was attacked, deleted from and swept."""
    root = tmp_path_factory.mktemp("evidence")
    lab = begin_lab(root / "lab", SIZES["small"])
    for kind in (tables.ANSWERS, tables.DOCUMENTS, tables.SOURCES):
        tables.write_table(lab.table(kind, "seed-0"), kind, [])
    names = ("measured_on", "configuration", "seconds", "commands", "figures")
    nothing: dict[str, dict[str, object]] = {name: {} for name in names}
    results = {"size": lab.size.to_dict(), "seeds": list(SEEDS), "targets": [], "facts": []}
    durable.write_json(lab.root / "results.json", {**results, **nothing})
    make_attacks(lab)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "NUM_RESAMPLES", 20)
        durable.write_json(lab.root / "curves.json", make_curves(root))
    durable.write_json(lab.root / "sweeps.json", SWEEPS)
    return lab


@pytest.fixture(scope="module")
def findings(lab):
    return Findings.read(lab.root)


@pytest.fixture(autouse=True)
def styled():
    """Sections are built as the page builds them, with text that can be searched."""
    with paper_style():
        yield


def row_of(table, first):
    (row,) = (row for row in table.rows if row[0] == first)
    return dict(zip(table.header, row, strict=True))


@pytest.fixture(scope="module")
def page(findings):
    return render_report(findings)


def test_every_file_has_its_sections(page):
    titles = re.findall(r"<h2[^>]*>([^<]+)", page)
    ours = ["Attacks", "Relearning", "More and more deletions", "Sweeps"]
    assert titles == ["Targets", "Isolation", *ours, "How it was made", "Every figure"]
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("build", "file"),
    [
        (build_attacks, "attacks"),
        (build_relearning, "attacks"),
        (build_deletions, "curves"),
        (build_sweeps, "sweeps"),
    ],
)
def test_a_section_is_left_out_without_its_file(findings, build, file):
    assert build(findings) is not None
    assert build(replace(findings, **{file: None})) is None


def test_attacks_show_what_was_got_and_why_one_does_not_apply(findings):
    section = build_attacks(findings)
    table, reasons = section.tables[:2]
    formats = row_of(table, "formats")
    assert formats["suppressed"] == "0.90 [0.90, 0.97]"  # of two seeds: 0.1 / sqrt(2)
    assert formats["excised"] == "0.20 [0.20, 0.27]"
    assert (formats["n"], formats["sources"]) == ("20", "4")
    assert row_of(table, "covering survivors")["dense"] == "not applicable"
    assert row_of(table, "optimized prompts")["dense retrained"] == "not available"
    assert reasons.rows == (("covering survivors: dense", HOSTILE),)
    best, by_setting = (chart.svg for chart in section.charts)
    assert best.count("not applicable") == 1
    assert "square-root axis" in best
    assert ">0.01<" in best
    assert "question" in by_setting
    assert "covering" not in by_setting, "an attack with one setting is in the first figure"


def test_relearning_is_compared_with_the_retrained_model(findings):
    section = build_relearning(findings)
    table = section.tables[0]
    own = row_of(table, "own sinks, deleted, excised")
    assert (own["steps"], own["retrained's"], own["ratio"], own["seed 1"]) == (
        *("1.0", "2.0", "0.50", "0.50"),
    )
    censored = row_of(table, "backbone, deleted, excised")
    assert (censored["steps"], censored["ratio"]) == ("> 4", ">2.00")
    nothing = row_of(table, "own sinks, third, excised")
    assert (nothing["before"], nothing["ratio"]) == ("-", "not applicable")
    of_deleted, others = (chart.svg for chart in section.charts)
    for shown in ("own sinks, deleted", "down rows zero", ">0.85<", ">0.7<"):
        assert shown in of_deleted
    assert "not applicable" in others
    assert ">0.85<" not in others


def test_where_nothing_is_learnt_back_the_axes_end_early(findings):
    flat = copy.deepcopy(findings.attacks)
    others = [entry for entry in flat["relearning"] if entry["text"] != "deleted"]
    for entry in others:
        for accuracy in ("accuracy_per_seed", "retrained_accuracy_per_seed"):
            for kinds in entry[accuracy].values():
                kinds.update({kind: [0.04] * len(kinds[kind]) for kind in kinds})
    section = build_relearning(replace(findings, attacks=flat))
    captions = [chart.caption for chart in section.charts]
    assert ["Dashed" in caption for caption in captions] == [True, False]
    assert "axes end at 0.25" in captions[1]


def test_targets_of_relearning_stand_among_the_targets(page):
    assert "1 of 2 targets are met, 1 missed." in page
    (row,) = re.findall(r"<tr>.*relearning: backbone.*</tr>", page)
    assert "at least 0.7" in row
    assert row.count("&gt;2.00") == 1 + len(SEEDS)


def test_deletions_show_what_is_kept_and_gone(findings):
    section = build_deletions(findings)
    deleted, shared = section.tables
    assert [row[:2] for row in deleted.rows] == [("1", "0.100"), ("20", "0.100")]
    row = row_of(deleted, "20")
    assert row["collateral found"].startswith("1.000")
    assert row["collateral forecast"] == "0.200"
    assert row["isolation: excised"].startswith("1.000")
    assert [row[:2] for row in shared.rows] == [("3, off", "0"), ("3, off", "2")]
    assert [row[4][:5] for row in shared.rows] == ["0.000", "1.000"]
    assert "0: all gone" in section.charts[1].svg


def test_sweeps_name_the_base_and_what_was_not_trained(findings):
    section = build_sweeps(findings)
    table = section.tables[0]
    assert [row[:2] for row in table.rows][:2] == [
        ("as it is", "0"),
        ("model.num_active = 16", "0"),
    ]
    several = [row[0] for row in table.rows if row[1] == "0, 1"]
    assert several == ["as it is", "model.num_active = 16", "model.num_active = 4"]
    alone = replace(table, rows=[row for row in table.rows if row[1] == "0"])
    assert row_of(alone, "as it is")["isolation off"] == "0.500"
    assert row_of(alone, "model.num_active = 4")["isolation off"] == "-"
    assert row_of(alone, "model.num_active = 4")["training, s"] == "12"
    trade, pooled, capacity, load = section.charts
    assert trade.caption.endswith(
        "Seed 0 alone. Models that lack a figure: 0 (AUC of unique facts, off); 5 (isolation of "
        "unique facts, off); that were not trained on all of these seeds: 0."
    )
    assert pooled.caption.endswith("trained on all of these seeds: 3.")
    assert "2 seeds together" in pooled.caption
    assert ">4, sink_dropout=0.1</text>" in trade.svg
    assert "sink_dropout" not in capacity.svg
    assert "model.num_sinks" in trade.svg
    assert "model.num_sinks" not in pooled.svg
    values = re.findall(r">(4|8|16|true|false|as it is)</text>", capacity.svg)
    assert values[:6] == ["4", "8", "as it is", "16", "as it is", "false"]
    assert re.findall(r">(9.38|37.5)</text>", load.svg) == ["9.38", "37.5"] * 3


def test_nothing_is_invented_where_values_are_undefined(findings):
    """Every number of the three files that is undefined is named so, not drawn as 0."""

    def undefined(content):
        if isinstance(content, dict):
            known = ("value", "low", "high", "interval")
            return {
                name: None if name in known and not isinstance(each, str) else undefined(each)
                for name, each in content.items()
            }
        return [undefined(each) for each in content] if isinstance(content, list) else content

    parts = {
        name: undefined(json.loads(json.dumps(getattr(findings, name))))
        for name in ("attacks", "curves", "sweeps")
    }
    empty = replace(findings, **parts)
    assert row_of(build_attacks(empty).tables[0], "formats")["excised"] == "not available"
    deleted, shared = build_deletions(empty).tables
    assert {row[2] for row in deleted.rows} | {row[4] for row in shared.rows} == {"not available"}
    (own,) = {row[2] for row in build_sweeps(empty).tables[0].rows}
    assert own == "not available"


def test_a_file_of_another_version_is_refused(lab):
    path = lab.root / "sweeps.json"
    content = path.read_bytes()
    durable.write_json(path, {**SWEEPS, "format_version": 99})
    try:
        with pytest.raises(InputError, match=r"sweeps\.json has format version 99, not 2; run"):
            Findings.read(lab.root)
    finally:
        path.write_bytes(content)
