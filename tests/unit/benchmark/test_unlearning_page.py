"""The page of the source-unlearning benchmark."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from nulls_dist import durable
from nulls_dist.benchmark.unlearning import inference, tables
from nulls_dist.benchmark.unlearning.figures import MODELS, Evidence
from nulls_dist.benchmark.unlearning.lab import begin_lab
from nulls_dist.benchmark.unlearning.page.facts import build_facts
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.isolation import build_isolation
from nulls_dist.benchmark.unlearning.page.render import render_report
from nulls_dist.benchmark.unlearning.report import REPORT_FILE, report
from nulls_dist.benchmark.unlearning.results import compute
from nulls_dist.benchmark.unlearning.sizes import ARMS, SIZES
from nulls_dist.errors import InputError
from nulls_dist.eval.metrics import intervals
from tests.unlearning_rows import HOSTILE, SOURCES, answers_of, documents_of

RETRAINED_ON = replace(MODELS["own sinks"], arm="nulls_retrained")


def source_rows():
    """The planner's view of every source."""
    return [
        {
            "seed": 0,
            "source_id": source_id,
            "title": HOSTILE,
            "group": group,
            "asked": True,
            "lost_share": 0.1,
            "max_shared": source_id / 100,
            "shared_facts": 1,
        }
        for group, sources in SOURCES.items()
        for source_id in sources
    ]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A benchmark's directory with invented answers, its results written."""
    root = tmp_path_factory.mktemp("bench")
    draws = np.random.default_rng(0)
    lab = begin_lab(root / "lab", SIZES["small"])
    models = (*MODELS.values(), RETRAINED_ON)
    rows = {
        tables.ANSWERS: [row for asked in models for row in answers_of(asked, draws)],
        tables.DOCUMENTS: [row for asked in models for row in documents_of(asked, draws)],
        tables.SOURCES: source_rows(),
    }
    for kind, each in rows.items():
        tables.write_table(lab.table(kind, "seed-0"), kind, each)
    for arm in ARMS[:2]:
        lab.run_dir(0, arm).mkdir(parents=True)
        lines = [f'{{"train/loss_nats": {9 / k}, "train/tokens": {k}}}\n' for k in range(1, 9)]
        (lab.run_dir(0, arm) / "metrics.jsonl").write_text("".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        for module in (intervals, inference):
            patch.setattr(module, "NUM_RESAMPLES", 20)
        found = compute(Evidence.read(lab.root))
    results = {
        "format_version": 1,
        "size": lab.size.to_dict(),
        "seeds": [0],
        "measured_on": {"command": HOSTILE, "versions": {"torch": "2.13"}},
        "seconds": {"train-nulls": [12.5], "world": []},
        "commands": {"train-nulls": f"python -m nulls_dist.pretrain {HOSTILE}"},
        "configuration": {
            arm.name: {"optim": {"lr": 1e-3 if arm.control else 2e-3}, "seed": 0} for arm in ARMS
        },
        **found,
    }
    durable.write_json(lab.root / "results.json", results)
    return lab.root


@pytest.fixture(scope="module")
def page(bench):
    """The page of that benchmark, as the command writes it."""
    report(out=bench)
    return (bench / REPORT_FILE).read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects the cells of a page's tables, its text, elements and attributes."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.attributes, self.texts = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        self.texts.append(data)
        if self.lasttag in {"td", "th", "span"} and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_page_has_every_target_and_every_figure(bench, page):
    results = durable.read_json(bench / "results.json")
    text = " ".join(Reader(page).texts)
    for target in results["targets"]:
        assert target["figure"] in text
        assert target["target"] in text
    for figure in results["figures"].values():
        assert figure["formula"] in text
        assert figure["group"] in text
    assert page.count("<svg") == page.count("<figcaption") == 10
    for step in ("train-nulls", "12.5", "not available"):
        assert step in text


def test_page_escapes_what_it_is_given(page):
    reader = Reader(page)
    assert "script" not in reader.tags
    assert page.count("&lt;script&gt;") >= 4, "attribute in figure and table, command twice"
    assert HOSTILE in "".join(reader.texts)


def test_page_refers_to_nothing_outside_it(page):
    outside = {"src", "srcset", "href", "xlink:href", "data", "action", "poster", "background"}
    for name, value in Reader(page).attributes:
        assert name not in outside or value.startswith("#"), f"{name}={value}"
    assert not re.search(r"@import|url\((?!#)", page)
    spaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<>]+", page)) <= spaces


def test_ids_that_are_linked_exist(page):
    attributes = Reader(page).attributes
    ids = {value for name, value in attributes if name == "id"}
    linked = {value[1:] for name, value in attributes if name == "href" and value[:1] == "#"}
    assert linked <= ids


def test_configurations_are_told_apart(page):
    rows = [row for row in Reader(page).rows if row and row[0] in {"optim.lr", "seed"}]
    lr = ["0.002" if arm.control is None else "0.001" for arm in ARMS]
    by_name = [lr[index] for index in np.argsort([arm.name for arm in ARMS])]
    assert rows == [["optim.lr", *by_name], ["seed", "0"]]


def test_same_results_give_the_same_page(bench, page):
    assert render_report(Findings.read(bench)) == page


def without_values(findings, *names):
    """The findings with figures, their targets and all facts' accuracies undefined."""
    nothing = {"value": None, "interval": None}
    results = findings.results
    undefined = {
        name: {**results["figures"][name], **nothing, "per_seed": {"0": {**nothing, "details": {}}}}
        for name in names
    }
    targets = [
        {**each, "value": None, "met": None, "per_seed": {"0": None}}
        if each["figure"] in names
        else each
        for each in results["targets"]
    ]
    no_accuracy = {"value": None, "low": None, "high": None}
    facts = [{**each, "accuracy": no_accuracy} for each in results["facts"]]
    changed = {"figures": results["figures"] | undefined, "targets": targets, "facts": facts}
    return replace(findings, results={**results, **changed})


def test_a_figure_that_was_not_computed_is_not_shown_as_0(bench):
    findings = without_values(Findings.read(bench), "isolation: off")
    reader = Reader(render_report(findings))
    (row,) = [row for row in reader.rows if row[:1] == ["isolation: off"]]
    assert row[2:4] == ["not available", "no interval"]
    assert row[5:] == ["not available", "not available"]
    assert not any("0.000" in cell for cell in row)
    isolation, facts = build_isolation(findings), build_facts(findings)
    assert "not available" in isolation.charts[0].svg
    assert "not available" in facts.charts[0].svg
    assert {cell for row in facts.tables[0].rows for cell in row[3:]} == {"not available"}


def test_a_figure_that_is_missing_is_not_shown_as_0(bench):
    findings = Findings.read(bench)
    figures = {
        name: each
        for name, each in findings.results["figures"].items()
        if not name.startswith("isolation")
    }
    found = build_isolation(replace(findings, results={**findings.results, "figures": figures}))
    assert all(set(row[1:5]) == {"not available"} for row in found.tables[0].rows)


def test_sections_of_what_was_not_asked_are_left_out(bench):
    findings = Findings.read(bench)
    nothing = Evidence(*(table.slice(0, 0) for table in vars(findings.evidence).values()))
    results = {**findings.results, "figures": {}, "facts": [], "power": None}
    page = render_report(replace(findings, results=results, evidence=nothing, trainings={}))
    titles = re.findall(r"<h2[^>]*>([^<]+)", page)
    assert titles == ["Targets", "Isolation", "How it was made", "Every figure"]


def test_bound_of_a_figure_is_that_of_its_target(bench):
    findings = Findings.read(bench)
    assert findings.bound("isolation: off") == 0.97
    assert findings.bound("collateral beyond the forecast") == 0.0
    assert findings.bound("collateral found") is None


def test_report_needs_results(tmp_path):
    begin_lab(tmp_path, SIZES["small"])
    with pytest.raises(InputError, match=r"has no results\.json; finish it with 'python -m nulls"):
        report(out=tmp_path)
