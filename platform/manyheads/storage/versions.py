"""Versions of Python and of packages that results depend on, as packs, reports and `manyheads doctor` name them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("manyheads", "torch", "gymnasium", "numpy", "dm-control", "mujoco", "transformers")


def installed_versions() -> dict[str, str]:
    """The version of `python`, and of each of `PACKAGES` that is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
