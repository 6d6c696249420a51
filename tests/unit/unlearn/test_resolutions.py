"""Resolving in columns decides what looking at one line after the other decides."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.data.source_table import SourceTable
from nulls_dist.source_list import Means, parse_request, read_requests
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.matching import MatchedBy
from nulls_dist.unlearn.names import fold_keys, fold_titles, fold_urls
from nulls_dist.unlearn.resolutions import Outcome, Resolution, Resolutions
from nulls_dist.unlearn.resolve import resolve_requests
from nulls_dist.unlearn.suggest import suggest_titles
from tests.checkpoint_factory import key_id, write_source_table

NAMES = st.sampled_from(
    [
        "a",
        "A",
        "a b",
        "A_b",
        "A  b",
        "B",
        "b",
        "\u00fc",
        "u\u0308",
        "\u00dc",
        "7",
        "title:a",
        "a\u2028",
    ]
)
KEYS = st.sampled_from(["7", "a", "A b", "\u00fc", "key", "x/y"])
URLS = st.sampled_from(["", "https://x.org/a", "https://x.org/a_b", "http://X.org/%C3%BC#z"])
FORMER = st.builds("{}:{}".format, st.sampled_from(["title", "key", "url", "id"]), NAMES | URLS)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "source_key": KEYS,
            "title": NAMES,
            "aliases": st.lists(NAMES | FORMER, max_size=3),
            "url": URLS,
        }
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row["source_key"],
)
IDS = KEYS.map(key_id) | st.sampled_from([5, NO_SOURCE, "7x", ""])
LINES = st.lists(
    NAMES
    | KEYS
    | URLS.filter(bool)
    | FORMER
    | IDS.map("id:{}".format)
    | st.builds("{}: {} ".format, st.sampled_from(["key", "url", "title", "Title"]), NAMES | URLS),
    min_size=1,
    max_size=12,
)
WAYS = {"title": fold_titles, "key": fold_keys, "url": fold_urls, "id": fold_keys}


def folded(means, name):
    (form,) = WAYS[means](pa.array([name], pa.string())).to_pylist()
    return form


def pick(means, name, spellings):
    """Return the places of exact spellings, or else of those with the name's folded form."""
    form = folded(means, name)
    alike = [place for place, other in spellings if form and folded(means, other) == form]
    spelt = folded("key", name)
    exact = [place for place, other in spellings if folded("key", other) == spelt]
    return [place for place in exact if place in alike] or alike


def find_labels(rows, request):
    """Return what of which sources a line names: pairs of a row and a label."""
    name, means = request.name, request.means
    url = {Means.URL} if "://" in name else set()
    asked = {Means.TITLE, Means.KEY, *url} if means is Means.ANY else {means}
    found = []
    for label, column in (("title", "title"), ("key", "source_key"), ("url", "url")):
        if label in asked:
            spellings = [(place, row[column]) for place, row in enumerate(rows)]
            found += [(place, label) for place in pick(label, name, spellings)]
    aliases = [(place, alias) for place, row in enumerate(rows) for alias in row["aliases"]]
    if means is Means.ANY:
        found += [(place, "alias") for place in pick("title", name, aliases)]
    if means is Means.ID:
        found += [(p, "id") for p, row in enumerate(rows) if str(key_id(row["source_key"])) == name]
    if not found:
        for one in asked:
            spelled = [
                (place, alias.removeprefix(f"{one}:"))
                for place, alias in aliases
                if alias.startswith(f"{one}:")
            ]
            found += [(place, "former name") for place in pick_former(one, name, spelled)]
    return [(place, MatchedBy(label)) for place, label in found]


def pick_former(means, name, spelled):
    """As `pick`, but the empty name has a form too: its prefix."""
    form = folded(means, name)
    alike = [place for place, other in spelled if folded(means, other) == form]
    spelt = folded("key", f"{means}:{name}")
    exact = [p for p, other in spelled if folded("key", f"{means}:{other}") == spelt]
    return [place for place in exact if place in alike] or alike


def choose(rows, labelled):
    order = list(MatchedBy)
    ranked = sorted(
        labelled, key=lambda one: (key_id(rows[one[0]]["source_key"]), order.index(one[1]))
    )
    listed = ", ".join(
        f"{label} of {rows[place]['title']!r} (id:{key_id(rows[place]['source_key'])})"
        for place, label in ranked[:4]
    )
    more = f" and {len(ranked) - 4} more" if len(ranked) > 4 else ""
    return f"{listed}{more}; choose with id:, title: or key:"


def resolve_one_by_one(table, rows, requests):
    first, num_unknown = {}, 0
    for request in requests:
        labelled = find_labels(rows, request)
        places = {place for place, _ in labelled}
        outcome, known, detail = Outcome.UNKNOWN, {}, "no source has this name"
        if len(places) > 1:
            outcome, detail = Outcome.AMBIGUOUS, choose(rows, labelled)
        elif places:
            (place,) = places
            known = {"source_id": key_id(rows[place]["source_key"]), "title": rows[place]["title"]}
            known["matched_by"] = min((label for _, label in labelled), key=list(MatchedBy).index)
            line = first.setdefault(place, request.line)
            outcome, detail = Outcome.MATCHED, ""
            if line != request.line:
                outcome, detail = Outcome.DUPLICATE, f"line {line} names it already"
        else:
            num_unknown += 1
            (titles,) = suggest_titles(table, [request.name])
            if titles and num_unknown <= 5:
                detail += f"; did you mean {' or '.join(map(repr, titles))}?"
        yield Resolution(request=request, outcome=outcome, detail=detail, **known)


@given(rows=ROWS, lines=LINES)
def test_columns_say_what_one_line_after_the_other_says(tmp_path_factory, rows, lines):
    folder = tmp_path_factory.mktemp("resolutions")
    write_source_table(folder / "sources.parquet", rows)
    table = SourceTable(folder / "sources.parquet")
    (folder / "sources.txt").write_bytes("\n# a comment\n".join(lines).encode())
    requests = read_requests(folder / "sources.txt")
    numbered = enumerate(lines)  # a comment after each
    plain = [parse_request(text, 2 * place + 1) for place, text in numbered]
    assert list(requests) == plain
    expected = list(resolve_one_by_one(table, rows, plain))
    found = resolve_requests(table, requests)
    assert list(found) == expected
    assert list(resolve_requests(table, plain)) == expected
    assert list(Resolutions.of(expected)) == expected
    assert found[1:] == expected[1:]
    assert found[-1] == expected[-1]
    outcomes = [entry.outcome for entry in expected]
    assert found.count_outcomes() == {outcome: outcomes.count(outcome) for outcome in Outcome}
