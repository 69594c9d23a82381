"""Which versions of torch work, and how computations run with each.

python benchmarks/torch_versions.py 2.13.0 2.14.1 [--keep] [--folder DIR] [--json]

Each version gets its own virtual environment, several gigabytes for a build with CUDA, removed afterwards.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from manyheads.cli import console

ROOT = Path(__file__).parent.parent
TESTS = ("tests/core/test_select.py", "tests/core/test_fast_path.py")
OF_TORCH = re.compile(r"^(torch|triton|sympy|nvidia|cuda)\b", re.IGNORECASE)
"""packages whose version a version of torch chooses"""
WAY = """
import json, torch
from manyheads.execution.select import choose
print(json.dumps({"build": torch.__version__, "way": choose("cpu").way, "problems": choose("cpu").problems}))
"""


@click.command()
@click.argument("versions", nargs=-1, required=True)
@click.option("--folder", type=click.Path(path_type=Path), help="where environments are made; default: a temporary one")
@click.option("--keep", is_flag=True, help="keep the environments")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")
def main(versions: Sequence[str], folder: Path | None, keep: bool, as_json: bool) -> None:
    """Install each of VERSIONS of torch, run the tests of the compiled path and a few updates with it."""
    folder = folder or Path(tempfile.mkdtemp(prefix="torch-versions-"))
    rows = []
    for version in versions:
        environment = folder / version
        try:
            rows.append({"torch": version, **measure(install(version, environment))})
        finally:
            if not keep:
                shutil.rmtree(environment, ignore_errors=True)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        console.table(rows)


def install(version: str, folder: Path) -> Path:
    """A virtual environment with this version of torch and this checkout of manyheads; the path of its Python."""
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(line for line in lines if not OF_TORCH.match(line)))
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints]
    run(*pip, f"torch=={version}")
    run(*pip, "--no-build-isolation", "hatchling", "editables")
    run(*pip, f"torch=={version}", "pytest", "hypothesis", "--editable", ROOT)
    return python


def measure(python: Path) -> dict[str, Any]:
    """How the CPU computes, what the tests said, and the time of an update."""
    found = json.loads(run(python, "-c", WAY).splitlines()[-1])
    tests = run(python, "-m", "pytest", "-p", "no:cacheprovider", *TESTS, check=False).strip().splitlines()
    bench = run(
        python, "-m", "manyheads", "bench", "learner", "--workload", "demo", "--rounds", "3", "--json", check=False
    )
    update = "failed"
    if bench.startswith("{"):
        times = json.loads(bench)
        update = f"{times['median_ms']:.0f} ms, compiling {times['compile_s']:.0f} s"
    return {
        "build": found["build"],
        "way": found["way"],
        "problems": found["problems"],
        "tests": tests[-1].strip("= ") if tests else "did not run",
        "update": update,
    }


def run(*command: Any, check: bool = True) -> str:
    """The command's output; what it says on stderr passes through."""
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}.\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
