"""Near-duplicates across sources: what is found, what becomes of it, and by which names."""

import json
import random
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import data_prep.jsonl
import data_prep.near_duplicates
import data_prep.spill
from data_prep.build import POLICIES, main
from data_prep.near_duplicates import WINDOW
from data_prep.signatures import MIN_RECALL, NUM_PERMUTATIONS, choose_rows, open_signer, shingles
from data_prep.verification import verify_corpus
from nulls_dist.cli import run_command
from nulls_dist.data.duplicates import Policy
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import sha256_file
from nulls_dist.errors import IntegrityError
from nulls_dist.source_list import parse_request
from nulls_dist.sources import source_id_of
from nulls_dist.unlearn.lookup import look_up
from nulls_dist.unlearn.resolutions import Outcome
from nulls_dist.unlearn.resolve import resolve_requests
from tests.corpus_contents import digests, edit_manifest, read_source_rows, read_texts
from tools import lookup_source

WORDS = [f"{first}{second}" for first in "kstnmrlg" for second in ("ar", "el", "ino", "ou", "ymb")]


def invent(draws: random.Random, length: int = 400) -> list[str]:
    return draws.choices([a + b for a in WORDS for b in WORDS], k=length)


def edit(words: list[str], share: float, draws: random.Random) -> list[str]:
    """Replace one run of words, so that the similarity is near (1 - share) / (1 + share)."""
    length = round(share * len(words))
    start = draws.randrange(len(words) - length + 1)
    return [*words[:start], *invent(draws, length), *words[start + length :]]


def true_similarity(first: str, second: str) -> float:
    """Jaccard similarity of the sets of word 5-grams of texts without capitals and punctuation."""
    sets = []
    for text in (first, second):
        words = text.split()
        sets.append({tuple(words[at : at + 5]) for at in range(max(len(words) - 4, 1))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def command(rows: Path, out: Path, *more: object) -> list[str]:
    words = ("--input", rows, "--format", "jsonl", "--out", out, "--name", "n", "--workers", 1)
    return [*map(str, words), "--tokenizer", "train:bpe:300", "--partitions", "2", *map(str, more)]


def build(folder: Path, rows: list[dict], *more: object, out: str = "out") -> Path:
    main(command(write_rows(folder / "rows.jsonl", rows), folder / out, *more))
    return folder / out


def read_pairs(root: Path) -> dict[tuple[str, str], float]:
    """Return the similarity of each pair of sources that have one document each."""
    rows = pq.read_table(root / "duplicates.parquet").to_pylist()
    pairs = {(row["source_key_a"], row["source_key_b"]): row["similarity"] for row in rows}
    assert len(pairs) == len(rows)
    return pairs


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """20 texts, of each an exact copy, one lightly edited and one half rewritten; 40 others."""
    draws = random.Random(5)
    texts: dict[str, str] = {}
    for number in range(20):
        words = invent(draws)
        versions = (words, words, edit(words, 0.03, draws), edit(words, 0.5, draws))
        for kind, version in zip(("first", "copy", "light", "half"), versions, strict=True):
            texts[f"{kind} {number}"] = " ".join(version)
    texts |= {f"other {number}": " ".join(invent(draws)) for number in range(40)}
    rows = [{"id": key, "title": key, "text": text} for key, text in texts.items()]
    draws.shuffle(rows)
    return build(tmp_path_factory.mktemp("planted"), rows), texts


def test_planted_duplicates_are_found_and_nothing_else(planted) -> None:
    root, texts = planted
    found = {frozenset(pair) for pair in read_pairs(root)}
    numbers = range(20)
    # Of the two that are equal, the one with the lower key stands for both.
    expected = {frozenset((f"copy {n}", f"first {n}")) for n in numbers}
    expected |= {frozenset((f"copy {n}", f"light {n}")) for n in numbers}
    assert found == expected  # precision and recall are 1
    assert true_similarity(texts["first 0"], texts["half 0"]) < 0.5


def test_similarity_is_an_estimate_of_the_true_one(planted) -> None:
    root, texts = planted
    errors = []
    for (first, second), value in read_pairs(root).items():
        truth = true_similarity(texts[first], texts[second])
        assert (value == 1) == (truth == 1)
        errors.append(value - truth)
    assert max(map(abs, errors)) < 4 * (0.94 * 0.06 / NUM_PERMUTATIONS) ** 0.5
    assert abs(sum(errors) / len(errors)) < 0.01


def test_half_rewritten_texts_are_found_at_a_lower_threshold(planted, tmp_path: Path) -> None:
    _, texts = planted
    rows = [{"id": key, "text": texts[key]} for key in ("first 1", "half 1", "other 1", "other 2")]
    root = build(tmp_path, rows, "--duplicate-threshold", 0.25)
    ((pair, value),) = read_pairs(root).items()
    assert pair == ("half 1", "first 1")  # the shorter key is the lower one
    assert value == pytest.approx(true_similarity(texts["first 1"], texts["half 1"]), abs=0.15)


def test_bands_find_what_the_threshold_promises() -> None:
    assert choose_rows(0.8) == 8
    for threshold in (0.01, 0.25, 0.5, 0.8, 0.95, 1.0):
        rows = choose_rows(threshold)
        assert NUM_PERMUTATIONS % rows == 0
        assert rows == 1 or 1 - (1 - threshold**rows) ** (NUM_PERMUTATIONS // rows) >= MIN_RECALL


def test_shingles_are_five_folded_words_in_a_row() -> None:
    assert shingles("One, two: THREE four-five\nsix") == {
        b"one two three four five",
        b"two three four five six",
    }
    assert shingles("Stra\u00dfe \uff11") == {b"strasse 1"}
    assert shingles(" ?! ") == set()


def test_signatures_never_change() -> None:
    """Pairs of builds years apart compare; a library that gives other values must be noticed."""
    values = open_signer()("a b c d e f")
    assert values.dtype == "uint32"
    # Worked out from the definition: minimum of a * fmix32(xxh32(shingle)) + b over two shingles.
    assert values[[0, 1, 2, 127]].tolist() == [1166675519, 137876238, 1056113722, 625792716]


def test_result_does_not_depend_on_order_workers_or_parts(
    planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, texts = planted
    rows = [{"id": key, "title": key, "text": text} for key, text in texts.items()]
    turned = build(tmp_path, rows[::-1], "--workers", 2, out="turned")
    assert read_pairs(turned) == read_pairs(root)
    monkeypatch.setattr(data_prep.jsonl, "PART_BYTES", 10_000)
    monkeypatch.setattr(data_prep.spill, "MIN_GROUP_BYTES", 20_000)
    in_parts = build(tmp_path, rows[::-1], out="in_parts")
    assert digests(in_parts) == digests(turned)


def test_short_and_wordless_texts_are_compared_whole(tmp_path: Path) -> None:
    texts = {"a": "Yes.", "b": "yes", "c": "no", "d": "?!", "e": "?!", "f": "...", "g": "!?"}
    root = build(tmp_path, [{"id": key, "text": text} for key, text in texts.items()])
    assert read_pairs(root) == {("a", "b"): 1.0, ("d", "e"): 1.0}


def test_pairs_inside_one_source_are_not_reported(tmp_path: Path) -> None:
    text = " ".join(invent(random.Random(1), 60))
    rows = [{"id": n, "by": by, "text": text} for n, by in enumerate("AABBC")]
    root = build(tmp_path, rows, "--source-key", "by")
    found = pq.read_table(root / "duplicates.parquet").to_pylist()
    sides = [(row["source_key_b"], row["doc_index_b"]) for row in found]
    assert sides == [("B", 0), ("B", 1), ("C", 0)]
    assert {(row["source_key_a"], row["doc_index_a"]) for row in found} == {("A", 0)}
    assert verify_corpus(root).num_documents == 5


def test_thousands_of_equal_texts_give_a_star_and_similar_ones_few_pairs(tmp_path: Path) -> None:
    draws = random.Random(2)
    words = invent(draws, 100)
    same = [{"id": f"s{n:03d}", "text": "This page is a stub."} for n in range(500)]
    alike = [{"id": f"t{n:03d}", "text": " ".join([*words, *invent(draws, 2)])} for n in range(100)]
    pairs = read_pairs(build(tmp_path, same + alike))
    assert {pair for pair in pairs if pair[1][0] == "s"} == {
        ("s000", f"s{n:03d}") for n in range(1, 500)
    }
    similar = {pair for pair in pairs if pair[1][0] == "t"}
    assert {second for _, second in similar} == {f"t{n:03d}" for n in range(1, 100)}
    assert len(similar) <= 100 * (WINDOW + 1) * (NUM_PERMUTATIONS // 8)


def test_without_a_window_all_pairs_of_similar_texts_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_prep.near_duplicates, "WINDOW", 1000)
    draws = random.Random(3)
    words = invent(draws, 300)
    rows = [{"id": f"{n:02d}", "text": " ".join([*words, *invent(draws, 14)])} for n in range(40)]
    assert set(read_pairs(build(tmp_path, rows))) == set(combinations([r["id"] for r in rows], 2))


# A and B share a text, B and D another one; C is alone. "B" is the lower key, but read later.
DRAWS = random.Random(4)
ONE, TWO, THREE, FOUR = (" ".join(invent(DRAWS, 80)) for _ in range(4))
FAMILY = [
    {"id": "AA", "title": "Alpha", "url": "https://w.org/Alpha", "text": ONE},
    {"id": "D", "title": "Delta", "url": "https://w.org/Delta_D", "text": f"{ONE} end"},
    {"id": "C", "title": "Gamma", "url": "https://w.org/Gamma", "text": THREE},
    {"id": "B", "title": "Beta", "url": "https://w.org/Beta", "text": ONE},
]
GONE_NAMES = [
    *("Alpha", "alpha", "title:alpha", "AA", "key:AA", "https://w.org/Alpha"),
    *("url:w.org/Alpha", f"id:{source_id_of('n', 'AA')}", "Delta", "key:D", "url:w.org/Delta D"),
]


def source_of(root: Path, name: str) -> int | None:
    table = SourceTable(root / "sources.parquet")
    (found,) = resolve_requests(table, [parse_request(name, 1)])
    return found.source_id


def test_grouped_sources_become_the_one_with_the_lowest_key(tmp_path: Path) -> None:
    root = build(tmp_path, FAMILY, "--duplicates", "group")
    assert read_texts(root) == {"B": [ONE, ONE, f"{ONE} end"], "C": [THREE]}
    row = read_source_rows(root)["B"]
    assert (row["title"], row["num_documents"], row["url"]) == ("Beta", 3, "https://w.org/Beta")
    manifest = verify_corpus(root)
    assert manifest.build["duplicates"] == {
        "policy": "group",
        "threshold": 0.8,
        "pairs": 2,
        "sources": 3,
        "sources_gone": 2,
        "largest_group": 3,
    }
    assert {row["source_key_b"] for row in read_table(root)} == {"D", "AA"}
    (place,) = look_up(root, ["Alpha"])
    assert (place.title, place.near_duplicates) == ("Beta", [])


def read_table(root: Path) -> list[dict]:
    return pq.read_table(root / "duplicates.parquet").to_pylist()


def test_of_dropped_documents_the_first_stays(tmp_path: Path) -> None:
    root = build(tmp_path, FAMILY, "--duplicates", "drop")
    assert read_texts(root) == {"B": [ONE], "C": [THREE]}
    build_facts = verify_corpus(root).build
    assert build_facts["skipped"] == {"near-duplicate of another source": 2}
    assert build_facts["text_bytes"] == len(ONE) + len(THREE)
    assert build_facts["duplicates"]["sources_gone"] == 2


@pytest.mark.parametrize("policy", ["group", "drop"])
def test_a_source_that_is_gone_is_deleted_by_each_of_its_names(tmp_path: Path, policy: str) -> None:
    root = build(tmp_path, FAMILY, "--duplicates", policy)
    for name in GONE_NAMES:
        assert source_of(root, name) == source_id_of("n", "B"), name


def test_a_source_whose_texts_went_to_two_names_both(tmp_path: Path) -> None:
    rows = [
        {"by": "A", "text": ONE},
        {"by": "B", "text": TWO},
        {"by": "long", "text": ONE},
        {"by": "long", "text": TWO},
        {"by": "part", "text": TWO},
        {"by": "part", "text": FOUR},
    ]
    root = build(tmp_path, rows, "--source-key", "by", "--duplicates", "drop")
    assert read_texts(root) == {"A": [ONE], "B": [TWO], "part": [FOUR]}
    (place,) = look_up(root, ["key:long"])
    assert place.outcome == Outcome.AMBIGUOUS
    assert source_of(root, "part") == source_id_of("n", "part")
    verify_corpus(root)


def test_grouped_rows_keep_their_numbers_and_reading_order(tmp_path: Path) -> None:
    rows = [
        {"by": "ZZ", "text": FOUR},
        {"by": "ZZ", "text": ONE},
        {"by": "A", "text": TWO},
        {"by": "A", "text": ONE},
    ]
    root = build(tmp_path, rows, "--source-key", "by", "--duplicates", "group")
    assert read_texts(root) == {"A": [TWO, ONE, FOUR, ONE]}
    verify_corpus(root)


def test_report_changes_no_other_file(tmp_path: Path) -> None:
    report = digests(build(tmp_path, FAMILY, out="report"))
    off = digests(build(tmp_path, FAMILY, "--duplicates", "off", out="off"))
    assert set(report) - set(off) == {"duplicates.parquet"}
    assert {name for name in off if off[name] != report[name]} == {"manifest.json"}
    assert verify_corpus(tmp_path / "off").build["duplicates"] is None
    (place,) = look_up(tmp_path / "off", ["Alpha"])
    assert place.near_duplicates is None


def test_what_is_left_out_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "sources.txt").write_text("Beta\n")
    root = build(tmp_path, FAMILY, "--exclude", tmp_path / "sources.txt")
    assert [(row["title_a"], row["title_b"]) for row in read_table(root)] == [("Delta", "Alpha")]


def test_lookup_names_every_source_that_has_the_text(tmp_path: Path) -> None:
    root = build(tmp_path, FAMILY)
    (place,) = look_up(root, ["AA"])
    assert (place.num_documents, place.partition) == (1, place.bucket * 2 // 4096)
    assert [(near.title, near.source_key) for near in place.near_duplicates] == [
        ("Beta", "B"),  # the same text
        ("Delta", "D"),  # like the text that is the same
    ]
    assert place.near_duplicates[0].similarity == 1 > place.near_duplicates[1].similarity > 0.9
    (alone,) = look_up(root, ["C"])
    assert alone.near_duplicates == []


def test_lookup_tool_prints_near_duplicates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build(tmp_path, FAMILY)
    assert run_command(lookup_source.main, [str(root), "Alpha", "Gamma"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["Alpha", "Gamma"]
    assert "  title            Alpha" in lines
    place = lines.index("  near_duplicates  2")
    assert lines[place + 1].endswith("source_key=B  title=Beta  similarity=1.0")
    assert "title=Delta" in lines[place + 2]
    assert lines[-1] == "  near_duplicates  0"
    assert run_command(lookup_source.main, [str(root), "Alpha", "--json"]) == 0
    (place,) = json.loads(capsys.readouterr().out)
    assert [near["title"] for near in place["near_duplicates"]] == ["Beta", "Delta"]


@pytest.mark.parametrize("column", ["source_key_b", "doc_index_a", "similarity", "source_id_b"])
def test_verify_finds_a_changed_pair_although_the_checksum_agrees(
    tmp_path: Path, column: str
) -> None:
    root = build(tmp_path, FAMILY)
    path = root / "duplicates.parquet"
    table = pq.read_table(path)
    changes = {"source_key_b": "C", "doc_index_a": 7, "similarity": 0.5}
    rows = table.to_pylist()
    for row in rows:
        row[column] = changes.get(column, row["source_id_a"])
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    with pytest.raises(IntegrityError, match=r"duplicates\.parquet"):  # the checksum
        verify_corpus(root)
    manifest = json.loads((root / "manifest.json").read_text())
    for record in manifest["files"]:
        if record["path"] == "duplicates.parquet":
            record |= {"sha256": sha256_file(path), "num_bytes": path.stat().st_size}
    edit_manifest(root, files=manifest["files"])
    with pytest.raises(IntegrityError, match=r"duplicates\.parquet"):
        verify_corpus(root)


@pytest.mark.parametrize("value", ["0", "-0.5", "1.01", "nan"])
def test_threshold_outside_its_range_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", FAMILY)
    words = command(rows, tmp_path / "out", f"--duplicate-threshold={value}")
    assert run_command(main, words) == 2
    assert "duplicate-threshold" in capsys.readouterr().err


def test_the_command_line_offers_every_policy() -> None:
    assert tuple(Policy) == POLICIES
