"""Packages made up for a test: real modules with real metadata, found by their entry points."""

import subprocess
import sys
import sysconfig
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

MANYHEADS = Path(sysconfig.get_path("scripts")) / "manyheads"


def package(folder: Path, name: str, files: dict[str, str], entry: str | None = None) -> Path:
    """Writes modules and the metadata of the distribution `manyheads-<name>` 1.0 with the plugin `name`."""
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    metadata = folder / f"manyheads_{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: manyheads-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[manyheads]\n{name} = {entry or f'manyheads_{name}'}\n")
    return folder


def entries(folder: Path) -> list[EntryPoint]:
    """The plugins of the packages in one folder, which must be on `sys.path` to be loaded."""
    found = [entry for dist in distributions(path=[str(folder)]) for entry in dist.entry_points]
    return sorted(found, key=lambda entry: entry.name)


def run(*command: str | Path, timeout: float = 300, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, output captured as text."""
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=timeout, **options)


def python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a fresh process."""
    return run(sys.executable, "-c", code, **options)
