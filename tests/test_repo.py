"""The repository as a whole: promised command lines, documented ones, versions, house rules."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import pytest

import nulls_dist

ROOT = Path(__file__).resolve().parents[1]
CODE_FOLDERS = ("nulls_dist", "data_prep", "tools")
ALL_FOLDERS = (*CODE_FOLDERS, "tests", "ds_configs", "slurm", ".ci")
MAX_LINES = 400

# Scripts outside this repository use these command lines: they may grow, never change.
BUILD = "python -m data_prep.build --input in --out corpus --tokenizer tokenizer.json"
PRETRAIN = "-m nulls_dist.pretrain --preset nulls_tiny --data corpus --run-dir run"
PROMISED_COMMANDS = [
    f"{BUILD} --format generated --tokenizer train:bpe:8000",
    f"{BUILD} --format wikipedia --partitions 8 --workers 2 --limit 100",
    f"{BUILD} --format wikipedia --cleaner nulls",
    f"{BUILD} --format jsonl --source-key publisher",
    f"{BUILD} --format parquet --source-key author --text-field body --name books",
    f"{BUILD} --format text --exclude sources.txt --exclude-deleted checkpoint",
    f"mpirun -n 2 {BUILD} --format wikipedia --index index.txt.bz2",
    "python -m data_prep.verify corpus",
    f"python {PRETRAIN} --ds-config ds.json --resume auto --seed 1 --dry-run",
    f"torchrun --nproc-per-node 2 {PRETRAIN} --resume none --set train.steps=5 --set optim.lr=1e-3",
    f"srun {PRETRAIN} --resume run/checkpoints/step-00000100",
    f"python {PRETRAIN} --profile 10:12",
    "python tools/strip_sources.py ckpt sources.txt",
    "python tools/strip_sources.py ckpt sources.txt --out out --mode excise --max-collateral 0.05",
    "python tools/strip_sources.py ckpt sources.txt --mode suppress --allow-unknown",
    "python tools/strip_sources.py ckpt sources.txt --dry-run --json",
    "python tools/strip_sources.py ckpt --manifest manifests --out out",
    "python tools/verify_checkpoint.py ckpt",
    "python tools/lookup_source.py ckpt Alabama id:12 --json",
    "python tools/trace_source.py ckpt corpus Alabama id:12 --json",
    "python tools/check_exposure.py run corpus --json",
    "python tools/inspect_run.py run --stale-after 60 --json",
    "python tools/convert_to_hf.py ckpt out --form backbone",
    "python tools/convert_to_hf.py ckpt out --form merged --sources sources.txt",
    "python tools/evaluate.py loss ckpt --data corpus --state on off nearest placebo --json",
    "python tools/evaluate.py facts release --data corpus --questions q.jsonl --out facts.json",
    "python tools/evaluate.py harness ckpt --tasks sciq tasks/ --state on --source Alabama",
    "python tools/export_megatron.py corpus out --json",
    "python tools/import_reference.py litgpt --titles titles.json --out ckpt",
    "python tools/import_reference.py litgpt --titles titles.pkl --out ckpt --ids int64 --json",
    "python tools/convert_to_hf.py ckpt out --form routed --validate",
    "python tools/build_manifests.py ckpt sources.txt --out manifests",
    "python tools/build_manifests.py ckpt --out manifests --all",
    f"python {PRETRAIN} --dry-run --json --world-size 8 --gpu h200",
    "python tools/plan_sinks.py --preset nulls_1b_x8 --world-size 8 --gpu h200 --sources 6400000",
    "python tools/plan_sinks.py --preset nulls_1b --corpus corpus --deletions 4 55 --json",
    "python tools/bench.py memory --json --out memory.json",
    "python tools/bench.py corpus --data corpus --rounds 3 --json",
    "python tools/bench.py faults --share .05 --families kills damage --work work",
    "python tools/generate.py ckpt 'Alabama is'",
    "python tools/generate.py ckpt text --source Alabama --max-new-tokens 8 --seed 1",
    "python tools/generate.py ckpt text --state nearest --index index --top 3 --json",
    "python -m nulls_dist.benchmark run --size small --out bench --seeds 2 --jobs 1",
    "python tools/unlearn_posthoc.py model --method npo --forget f.jsonl --retain r --out out",
    "python tools/unlearn_posthoc.py model --method tau --forget f --unseen u --set threshold=.3 "
    "--stop forget/accuracy=0.3 --steps 5 --learning-rate 1e-4 --json --out out",
    "python -m nulls_dist.benchmark rivals --out bench --methods npo,rmu --seeds 1 --jobs 1",
    "python tools/demo.py",
    "python tools/demo.py --fast --out demo-out",
]


def entry_point(words: list[str]) -> tuple[str, list[str]] | None:
    """Module and arguments of a command that starts one of our programs, under any launcher."""
    for at, word in enumerate(words):
        if word in {"-m", "--module"} and words[at + 1].split(".")[0] in CODE_FOLDERS:
            return words[at + 1], words[at + 2 :]
        if word.startswith("tools/") and word.endswith(".py"):
            return word.removesuffix(".py").replace("/", "."), words[at + 1 :]
    return None


def check_parses(command: list[str]) -> None:
    """Fail unless the program's own parser accepts the command's arguments."""
    found = entry_point(command)
    assert found is not None
    module, arguments = found
    program = importlib.import_module(module)
    if hasattr(program, "__path__"):  # python -m runs a package's __main__
        program = importlib.import_module(f"{module}.__main__")
    parser = cast("ArgumentParser", program.build_parser())
    try:
        parser.parse_args(arguments)
    except SystemExit as ended:
        if ended.code == 0:  # --list and its like answer at once
            return
        pytest.fail(f"{module} does not accept {shlex.join(arguments)}\n{parser.format_usage()}")


def programs() -> list[str]:
    """Every program of the project: what is promised, and whatever else lies in tools."""
    promised = {found[0] for line in PROMISED_COMMANDS if (found := entry_point(shlex.split(line)))}
    return sorted(promised | {f"tools.{path.stem}" for path in (ROOT / "tools").glob("*.py")})


DOCS = ("data.md", "training.md", "deletion.md", "release.md", "posthoc.md")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / name for name in DOCS)]


def documented_commands(page: Path) -> list[list[str]]:
    """Simple commands of a page's bash blocks, as lists of words."""
    text = page.read_text(encoding="utf-8")
    commands: list[list[str]] = []
    for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            current: list[str] = []
            for word in lexer:
                if re.fullmatch(r"[&|;()]+", word):
                    commands.append(current)
                    current = []
                else:
                    current.append(word)
            commands.append(current)
    return [without_settings(command) for command in commands if command]


def without_settings(command: list[str]) -> list[str]:
    """The command without leading NAME=value words and without redirections."""
    while command and re.match(r"[A-Z_]+=", command[0]):
        command = command[1:]
    for at, word in enumerate(command):
        if re.fullmatch(r"[<>]+", word):
            return command[:at]
    return command


def text_files(folders: tuple[str, ...] = ALL_FOLDERS) -> list[Path]:
    """Files of the given folders and, for all folders, of the top level."""
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    if folders == ALL_FOLDERS:
        files += [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    return sorted(path for path in files if "__pycache__" not in path.parts)


def python_files(folders: tuple[str, ...]) -> list[Path]:
    """Python sources of the given folders."""
    return [path for path in text_files(folders) if path.suffix == ".py"]


@pytest.mark.parametrize("line", PROMISED_COMMANDS)
def test_promised_command_line_is_accepted(line):
    check_parses(shlex.split(line))


@pytest.mark.parametrize("program", programs())
def test_help_imports_nothing_heavy(program, tmp_path):
    for heavy in ("torch", "deepspeed", "megatron", "transformers"):
        (tmp_path / f"{heavy}.py").write_text(f"raise RuntimeError('--help imports {heavy}')\n")
    start = [f"{program.replace('.', '/')}.py"] if program.startswith("tools.") else ["-m", program]
    done = subprocess.run(
        [sys.executable, *start, "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")
    assert "examples:" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_name_what_exists_and_parse(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    commands = documented_commands(page)
    ours = [command for command in commands if entry_point(command)]
    assert ours, f"{page.name} shows no command of this project in a ```bash block"
    for command in ours:
        check_parses(command)
    for program, *arguments in commands:
        if program == "make":
            named = {word for word in arguments if "=" not in word and not word.startswith("-")}
            assert named <= targets
        elif program == "sbatch":
            at = next(i for i, word in enumerate(arguments) if word.endswith(".sh"))
            assert (ROOT / arguments[at]).is_file()
            check_parses([*shlex.split(PRETRAIN), *arguments[at + 1 :]])
        elif Path(program).name.startswith("python") and arguments[:1] == ["-m"]:
            assert find_spec(arguments[1]) is not None, arguments[1]
        elif Path(program).name.startswith("python") and arguments[:1] not in (["-c"], ["-"], []):
            assert (ROOT / arguments[0]).is_file(), arguments[0]


def test_one_version_everywhere():
    version = nulls_dist.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [version]
    assert re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)[0] == version
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "nulls_dist.__version__"}


def test_python_files_are_short():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files((*CODE_FOLDERS, "tests"))
    }
    assert {name: count for name, count in lengths.items() if count > MAX_LINES} == {}


def test_sources_are_ascii():
    names = {"Makefile", "run"}
    foreign = [
        str(path.relative_to(ROOT))
        for path in text_files()
        if path.suffix in {".py", ".sh", ".toml"} or path.name in names
        if not path.read_bytes().isascii()
    ]
    assert foreign == []


def test_one_file_knows_about_accelerators():
    pattern = re.compile(r"torch\.cuda|\.is_cuda|\.cuda\(|\bnccl\b")
    knowing = {
        str(path.relative_to(ROOT))
        for path in python_files(CODE_FOLDERS)
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert knowing == {"nulls_dist/parallel/accelerator.py"}


def test_no_file_names_the_place_where_it_was_written():
    # Put together here, so that this file does not name them either.
    pattern = re.compile(r"(?<![\w-])(/wo" + "rk/|sha" + "red/)")
    naming = {
        str(path.relative_to(ROOT))
        for path in text_files()
        if pattern.search(path.read_bytes().decode("utf-8", errors="replace"))
    }
    assert naming <= {".ci/run"}  # which looks for test data beside the checkout
