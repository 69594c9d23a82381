"""Low-rank adapters (LoRA) that a writer has learned: their file, and a model that answers with one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from manyheads import ManyheadsError, atomic
from manyheads_glam.models.causal import CausalModel
from manyheads_glam.transcript import Trust

PREFIX = "base_model.model."
"""what peft puts before the names of a model's layers"""
KEY = "manyheads"


class AdapterInfo(BaseModel):
    """What an adapter's file says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: Annotated[str, Field(max_length=500)]
    """the model that it was learned on, as `--model` names it"""
    rank: Annotated[int, Field(ge=1, le=256)]
    alpha: Annotated[float, Field(gt=0, le=1024)]
    weight: Annotated[float, Field(gt=0, le=100)]
    limit: Annotated[float, Field(gt=0, le=100)]
    environments: tuple[str, ...] = ()
    """what it was trained on"""
    figures: dict[str, float] = {}
    """how well specifications rank recorded stretches, before and after"""


def save_adapter(path: Path, info: AdapterInfo, tensors: Mapping[str, Tensor]) -> None:
    """Writes an adapter in float16 at once, in peft's names, with what it is in the file's metadata."""
    halves = {name: value.detach().to(torch.float16).contiguous() for name, value in tensors.items()}
    atomic.write(path, lambda part: save_file(halves, part, {KEY: info.model_dump_json()}))


def read_adapter(path: Path) -> tuple[AdapterInfo, dict[str, Tensor]]:
    """An adapter from its file; raises ManyheadsError that names it where it is none."""
    try:
        with safe_open(str(path), "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if text is None:
            raise ManyheadsError(f"{path} is not an adapter that `manyheads ground` wrote.")
        return AdapterInfo.model_validate(json.loads(text)), tensors
    except (OSError, SafetensorError, json.JSONDecodeError, ValidationError) as error:
        raise ManyheadsError(f"{path} can't be read as an adapter: {str(error).splitlines()[0]}") from None


def packaged() -> dict[str, Path]:
    """The adapters that come with this plugin, by name."""
    folder = Path(str(files("manyheads_glam"))) / "adapters"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


class AdaptedModel:
    """A causal model that weighs options with an adapter; `prior` is the model without it."""

    drafts = False

    def __init__(self, name: str, base: CausalModel, info: AdapterInfo, tensors: Mapping[str, Tensor]) -> None:
        self.name, self._base, self.info = name, base, info
        self.trust = Trust(info.weight, info.limit, learned=True)
        self._on = False
        layers = dict(base.model.named_modules())
        for key in sorted(name for name in tensors if name.endswith("lora_A.weight")):
            where = key.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            down, up = tensors[key], tensors[key.replace("lora_A", "lora_B")]
            layer = layers.get(where)
            if not isinstance(layer, nn.Linear) or (down.shape[1], up.shape[0]) != (
                layer.in_features,
                layer.out_features,
            ):
                raise ManyheadsError(f"The adapter {name} does not fit {base.name}: layer {where}.")
            layer.register_forward_hook(self._hook(down, up, info.alpha / info.rank))

    def _hook(self, down: Tensor, up: Tensor, scale: float) -> Callable[..., Tensor | None]:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            return output + scale * (inputs[0] @ down.T) @ up.T if self._on else None

        return add

    @contextmanager
    def _adapted(self) -> Iterator[None]:
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Mean log-probability per token of each candidate, by the adapted model."""
        with self._adapted():
            return self._base.score_uncached(prompt, candidates)

    def prior(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """The same by the model as it was."""
        return self._base.score(prompt, candidates)

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Unit sentence embeddings, which the adapter does not touch."""
        return self._base.embed(texts)

    def generate(self, prompt: str, schema: Mapping[str, Any] | None = None, max_tokens: int = 512) -> str:
        """The unadapted model's text."""
        return self._base.generate(prompt, schema, max_tokens)
