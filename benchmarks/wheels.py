"""Installs the built wheel into empty environments, without and with each extra, and uses what was promised.

python benchmarks/wheels.py [EXTRA…] [--python PYTHON] [--folder DIR] [--json]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from manyheads.cli import console

ROOT = Path(__file__).parent.parent
NONE = "none"
LEFT_OUT = ("dev", "docs")
"""extras for working on manyheads itself"""
PACK = """
import manyheads, sys
[getattr(manyheads, name) for name in manyheads.__all__]
assert "stable_baselines3" not in sys.modules
print(manyheads.__file__)
"""


@click.command()
@click.argument("extras", nargs=-1)
@click.option("--python", default=sys.executable, show_default=True, help="which Python the environments are made with")
@click.option("--folder", type=click.Path(path_type=Path), help="where they are made; default: a temporary folder")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def main(extras: Sequence[str], python: str, folder: Path | None, as_json: bool) -> None:
    """Install the wheel with each of EXTRAS (all and `none`), and run what a new user runs first.

    torch is unpacked once: each extra goes into a copy of the environment that has none, made of hard links.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = [NONE, *(name for name in project["optional-dependencies"] if name not in LEFT_OUT)]
    folder = folder or Path(tempfile.mkdtemp(prefix="wheels-"))
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    [wheel] = folder.glob("manyheads-*.whl")
    bare, own = folder / "bare", folder / "own"
    run(python, "-m", "venv", bare)
    rows: list[dict[str, Any]] = []
    try:
        for extra in dict.fromkeys([NONE, *(extras or known)]):
            environment = bare
            if extra != NONE:
                environment = shutil.copytree(bare, own, symlinks=True, copy_function=os.link)
            rows.append({"extra": extra, **check(wheel, extra, environment)})
            click.echo(json.dumps(rows[-1]), err=True)
            shutil.rmtree(own, ignore_errors=True)
            if extra == NONE and rows[0]["problem"]:
                break
    finally:
        shutil.rmtree(bare)
        shutil.rmtree(own, ignore_errors=True)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        console.table(rows)
    if any(row["problem"] for row in rows):
        raise SystemExit(1)


def check(wheel: Path, extra: str, environment: Path) -> dict[str, Any]:
    """Installs, then lists, looks around and imports; what went wrong is `problem`."""
    own = environment / "bin" / "python"
    source = str(wheel) if extra == NONE else f"{wheel}[{extra}]"
    before = size(environment)
    began = time.monotonic()
    try:
        run(own, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", source)
        seconds = time.monotonic() - began
        run(own, "-m", "pip", "check")
        tasks = run(own, "-m", "manyheads", "list", "tasks")
        # Without a C++ compiler, which no extra brings: trying it takes a minute.
        doctor = run(own, "-m", "manyheads", "doctor", "--json", codes=(0, 1), PATH=str(own.parent), CXX="")
        where = run(own, "-c", PACK, cwd=environment).strip()
    except subprocess.CalledProcessError as error:
        return {"seconds": None, "MB": None, "missing": [], "problem": (error.stderr or error.stdout)[-300:]}
    checks = json.loads(doctor)
    lacking = [each["what"] for each in checks if each["fix"] == f"pip install 'manyheads[{extra}]'"]
    problem = "" if not lacking else f"{extra} does not bring {', '.join(lacking)}"
    if not Path(where).is_relative_to(environment) or "dmc/walker-walk" not in tasks:
        problem = f"not what the wheel holds: {where}"
    return {
        "seconds": round(seconds),
        "MB": round((size(environment) - before) / 1e6),
        "missing": [each["what"] for each in checks if each["state"] == "missing"],
        "problem": problem,
    }


def size(folder: Path) -> int:
    """Bytes of its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def run(*command: Any, codes: tuple[int, ...] = (0,), cwd: Path | None = None, **variables: str) -> str:
    """What a command prints, with these environment variables; raises CalledProcessError where it fails."""
    environment = {**os.environ, **variables}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, env=environment)
    if done.returncode not in codes:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
