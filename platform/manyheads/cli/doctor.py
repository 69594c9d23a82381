"""`manyheads doctor`: what this machine has, what is missing and the command that fixes it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import click
import psutil

from manyheads.cli import console
from manyheads.commands import LazyCommand
from manyheads.execution.toolchain import cpp_compiler
from manyheads.imports import install_command, missing_modules
from manyheads.registry import registry
from manyheads.storage.versions import PACKAGES, installed_versions

GIGA = 1e9
BACKENDS = ("egl", "osmesa", "glfw")
DRAWING = {"pygame": "classic"}
"""Modules that only pictures of some environments need, and the extras that install them."""
RENDER = "import mujoco; c = mujoco.GLContext(64, 64); c.make_current(); c.free()"


@dataclass(frozen=True)
class Check:
    """One thing looked at; `fix` is the command that puts it right."""

    what: str
    state: Literal["ok", "optional", "missing"]
    found: str
    fix: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON list of objects.")
def doctor(as_json: bool) -> None:
    """Looks at this machine: versions, rendering, cores, memory, disk, compiler, plugins.

    Exit code 1 where something is missing that the platform needs.
    """
    computing = [compiler(), accelerator(), precision(), execution()]
    checks = [*versions(), *machine(), *computing, rendering(), video(), *extras(), *plugins()]
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        console.table([asdict(check) for check in checks])
    if any(check.state == "missing" for check in checks):
        raise SystemExit(1)


def versions() -> Iterator[Check]:
    """Python and the packages that results depend on."""
    found = installed_versions()
    yield Check("python", "ok", f"{found['python']} at {sys.executable}")
    for package in PACKAGES:
        if package in found:
            yield Check(package, "ok", found[package])
        else:
            yield Check(package, "optional", "not installed", f"pip install {package}")


def machine() -> Iterator[Check]:
    """Cores, memory and disk that this process may use."""
    yield Check(
        "cores",
        "ok",
        f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}",
    )
    memory = psutil.virtual_memory()
    enough = memory.available > 2 * GIGA
    yield Check(
        "memory",
        "ok" if enough else "missing",
        f"{memory.available / GIGA:.1f} GB free of {memory.total / GIGA:.1f} GB",
        "" if enough else "close other programs: training needs about 2 GB",
    )
    disk = shutil.disk_usage(Path.cwd())
    enough = disk.free > 2 * GIGA
    yield Check(
        "disk",
        "ok" if enough else "missing",
        f"{disk.free / GIGA:.0f} GB free at {Path.cwd()}",
        "" if enough else "make room: a world's replay needs about 2 GB",
    )


def compiler() -> Check:
    """On a CPU, updates are compiled by a C++ compiler; without it they are slower."""
    found = cpp_compiler()
    if not found:
        return Check("compiler", "optional", "none; updates will not be compiled", "apt-get install g++")
    if not shutil.which(found):
        return Check("compiler", "optional", f"CXX={found} can't be run", "unset CXX, or set it to g++ or clang++")
    return Check("compiler", "ok", found)


def accelerator() -> Check:
    """What torch would compute on."""
    import torch

    if torch.cuda.is_available():
        return Check("accelerator", "ok", torch.cuda.get_device_name())
    return Check("accelerator", "optional", "none; everything runs on the CPU")


def precision() -> Check:
    """What large products are computed in where `training.precision` is auto."""
    import torch

    from manyheads.execution.precision import has_bfloat16

    if has_bfloat16("cuda" if torch.cuda.is_available() else "cpu"):
        return Check("precision", "ok", "bfloat16 in large products")
    return Check("precision", "optional", "float32; no instructions for bfloat16, so updates take longer")


def execution() -> Check:
    """How updates are computed here, and why not faster; each way is tried on a tiny function."""
    import torch

    from manyheads.execution.select import choose

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and compiler().state != "ok":
        return Check("execution", "optional", "eager on the cpu: nothing compiles C++ here", compiler().fix)
    choice = choose(device)
    if not choice.problems:
        return Check("execution", "ok", f"{choice.way} on the {device}")
    fix = f"pip install '{tested_torch()}'"
    return Check("execution", "optional", f"{choice.way} on the {device}. {' '.join(choice.problems)}", fix)


def tested_torch() -> str:
    """The versions of torch that manyheads is tested with, as pip takes them: `torch<2.15,>=2.11`."""
    required = requires("manyheads") or []
    return next((each for each in required if re.match(r"torch\b", each)), "torch")


def rendering() -> Check:
    """Whether MuJoCo draws without a screen; tried in another process, as a bad driver may end it."""
    if find_spec("mujoco") is None:
        return Check("rendering", "optional", "mujoco is not installed", "pip install 'manyheads[dmc]'")
    chosen = os.environ.get("MUJOCO_GL")
    works = next((backend for backend in [*filter(None, [chosen]), *BACKENDS] if _draws(backend)), None)
    if chosen and works and works != chosen:
        return Check("rendering", "missing", f"MuJoCo can't draw with MUJOCO_GL={chosen}", f"export MUJOCO_GL={works}")
    if works:
        return Check("rendering", "ok", f"works with MUJOCO_GL={works}")
    fix = "apt-get install libegl1 libgl1-mesa-dri && export MUJOCO_GL=egl"
    return Check("rendering", "missing", f"MuJoCo can't draw (MUJOCO_GL={chosen or 'not set'})", fix)


def video() -> Check:
    """The encoder of videos."""
    import imageio_ffmpeg

    try:
        return Check("video", "ok", f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}")
    except RuntimeError as error:
        return Check("video", "missing", str(error), "pip install --force-reinstall imageio-ffmpeg")


def extras() -> Iterator[Check]:
    """Modules without which something that is registered can't be made."""
    needing: dict[tuple[str, str], list[str]] = defaultdict(list)
    known = registry()
    for table in (known.environments, known.models, known.runners, known.loggers):
        for name, thing in table.items():
            for module in thing.missing():
                needing[module, thing.extra].append(name)
    for name, command in known.commands.items():
        if isinstance(command, LazyCommand):
            for module in command.missing():
                needing[module, command.extra].append(f"manyheads {name}")
    for module in missing_modules(DRAWING):
        needing[module, DRAWING[module]].append("drawing Gymnasium's classic control")
    for (module, extra), names in needing.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        fix = install_command(extra, [module]) if extra else f"pip install {module}"
        yield Check(module, "optional", f"not installed; {names[0]}{more} need it", fix)


def plugins() -> Iterator[Check]:
    """Plugins that failed."""
    registry().load_all()
    for plugin in registry().plugins.values():
        for problem in plugin.problems:
            yield Check(
                f"plugin {plugin.name}",
                "missing",
                problem,
                f"pip install --upgrade {plugin.package.split()[0]}",
            )


def _draws(backend: str) -> bool:
    try:
        subprocess.run(
            [sys.executable, "-c", RENDER],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            timeout=60,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False
    return True
