"""Any causal transformers checkpoint on this machine, named by MANYHEADS_MODEL or `--model local:PATH`."""

from __future__ import annotations

import os
from pathlib import Path

from manyheads import ManyheadsError
from manyheads_glam.models.causal import CausalModel


def local(path: str | None = None) -> CausalModel:
    """The checkpoint at `path`, else at the environment variable MANYHEADS_MODEL."""
    path = path or os.environ.get("MANYHEADS_MODEL")
    if not path:
        raise ManyheadsError(
            "glam/local needs a checkpoint: set MANYHEADS_MODEL to its folder, or use --model local:FOLDER."
        )
    folder = Path(path).expanduser()
    if not (folder / "config.json").is_file():
        raise ManyheadsError(
            f"{folder} is not a transformers checkpoint: it has no config.json. "
            "`save_pretrained(FOLDER)` of a model and its tokenizer writes one."
        )
    return CausalModel(f"local:{path}", folder)
