"""What a run was made with: its configuration, versions and topology, for run.json."""

import platform
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from nulls_dist import __version__
from nulls_dist.train.run import Run

_PACKAGES: Final = ("torch", "deepspeed", "megatron-core", "numpy", "pyarrow")


def describe_run(run: Run) -> dict[str, Any]:
    """Return the resolved configuration with everything needed to repeat the run."""
    return {
        "config": run.config.to_dict(),
        "topology": run.groups.topology.to_dict(),
        "corpus": str(run.corpus.root.resolve()),
        "first_step": run.first_step,
        "versions": package_versions(),
        "git_commit": git_commit(Path(__file__).parents[2]),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of what trains."""
    return {
        "nulls-dist": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def changed_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Return the fields of a configuration that differ: dotted name -> value before and now.

    A field that one of them lacks was added or removed by another version and is left out.
    """
    changed: dict[str, tuple[Any, Any]] = {}
    for key in before.keys() & now.keys():
        if isinstance(now[key], dict):
            changed |= changed_settings(before[key], now[key], f"{prefix}{key}.")
        elif before[key] != now[key]:
            changed[prefix + key] = (before[key], now[key])
    return dict(sorted(changed.items()))


@cache
def git_commit(folder: Path) -> str | None:
    """Return the commit that a folder's files are of, "-dirty" added where they differ from it.

    A copy that a job made of a checkout names it in its file COMMIT. None where there is no
    checkout (an installed package) or no git.
    """
    copied = folder / "COMMIT"
    if copied.is_file():
        return copied.read_text(encoding="utf-8").strip() or None
    git = shutil.which("git")
    if git is None:
        return None
    described = subprocess.run(
        [git, "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None
