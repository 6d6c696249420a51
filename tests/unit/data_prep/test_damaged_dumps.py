"""Whatever is wrong with a dump, a build ends soon: with an error, or with a corpus that counts."""

import bz2
import io
import multiprocessing
import re
import resource
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Final

import pytest

import data_prep.multistream
from data_prep.build import main
from data_prep.verification import verify_corpus
from nulls_dist.cli import run_command
from tests.damaged_dumps import sound_pages, write_damaged_dump

MAX_SECONDS: Final = 60
MAX_ADDRESS_BYTES: Final = 4 << 30
"""Most of which the libraries map without using it."""
MAX_RESIDENT_BYTES: Final = 1 << 30
SUCCESS, BAD_INPUT = 0, 3


class HangError(BaseException):
    """A build took too long; nothing handles this."""


@contextmanager
def at_most(seconds: int, what: str) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise HangError(f"{what} takes more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def build(dump: Path, out: Path, tokenizer: Path) -> tuple[int, str]:
    """Exit code and what was said."""
    command = ["--input", str(dump), "--format", "wikipedia", "--out", str(out), "--name", "w"]
    options = ["--tokenizer", str(tokenizer), "--partitions", "2", "--workers", "1"]
    said = io.StringIO()
    with redirect_stderr(said):
        code = run_command(main, [*command, *options])
    return code, said.getvalue()


def check_damaged_dumps(
    seeds: range, folder: Path, tokenizer: Path, pages: list[bytes]
) -> Counter[int]:
    """Build each seed's dump; return how often each exit code came."""
    codes: Counter[int] = Counter()
    data_prep.multistream.MIN_PART_BYTES = 1  # so that a small dump has many parts
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        dump, out = write_damaged_dump(place, seed, pages), place / "out"
        with at_most(MAX_SECONDS, f"seed {seed}"):
            code, said = build(dump, out, tokenizer)
        if code == SUCCESS:
            assert verify_corpus(out).num_documents > 0, f"seed {seed}"
        else:
            assert code == BAD_INPUT, f"seed {seed}: {said}"
            assert re.search(r"^error: .{20,}", said, re.M), f"seed {seed}: {said}"
            assert not list(place.glob("*out*")), f"seed {seed}"
        codes[code] += 1
        shutil.rmtree(place)
    return codes


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer") / "out"
    source = ["--input", "generated", "--format", "generated", "--articles", "20"]
    main([*source, "--out", str(out), "--tokenizer", "train:bpe:400", "--workers", "1"])
    return out / "tokenizer" / "spm.model"


def test_a_sample_of_damaged_dumps_ends_with_an_error_or_a_sound_corpus(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_prep.multistream, "MIN_PART_BYTES", 1)
    codes = check_damaged_dumps(range(60), tmp_path, tokenizer, sound_pages())
    assert codes[SUCCESS] >= 10
    assert codes[BAD_INPUT] >= 10


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_BYTES, MAX_ADDRESS_BYTES))


def peak_resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_limited(num_seeds: int, folder: Path, tokenizer: Path, pages: list[bytes]) -> Counter[int]:
    """Build dumps in a process whose memory is limited."""
    context = multiprocessing.get_context("spawn")
    codes: Counter[int] = Counter()
    with ProcessPoolExecutor(1, mp_context=context, initializer=limit_memory) as pool:
        for begin in range(0, num_seeds, 100):
            seeds = range(begin, min(begin + 100, num_seeds))
            codes += pool.submit(check_damaged_dumps, seeds, folder, tokenizer, pages).result()
        assert pool.submit(peak_resident_bytes).result() < MAX_RESIDENT_BYTES
    return codes


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damaged_dumps_end_with_an_error_or_a_sound_corpus(tmp_path: Path, tokenizer: Path) -> None:
    codes = run_limited(1700, tmp_path, tokenizer, sound_pages())
    assert min(codes[SUCCESS], codes[BAD_INPUT]) >= 200


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damaged_real_dumps_end_with_an_error_or_a_sound_corpus(
    test_data: Path, tmp_path: Path, tokenizer: Path
) -> None:
    path = test_data / "dump" / "enwiki-excerpt-multistream.xml.bz2"
    pages = re.findall(rb"<page>.*?</page>\s*", bz2.decompress(path.read_bytes()), re.S)
    small = sorted(pages, key=len)[len(pages) // 2 :][:12]
    codes = run_limited(300, tmp_path, tokenizer, small)
    assert min(codes[SUCCESS], codes[BAD_INPUT]) >= 30
