"""Which model writes and within which limits: from the command line, or remembered in the user's config folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from manyheads import ManyheadsError, yamlfile
from manyheads.atomic import write_text

LEXICON = "glam/lexicon"
EMBEDDED = "glam/embedded"
PRICE = r"^\d+(\.\d+)?/\d+(\.\d+)?$"


class ModelSettings(BaseModel):
    """A language model by its name, and the limits that it is used within."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1, max_length=300)] = LEXICON
    base_url: Annotated[str, Field(max_length=500)] | None = None
    """where the model's server answers, for example http://127.0.0.1:11434/v1"""
    max_tokens: Annotated[int, Field(ge=64, le=200_000)] = 4000
    """of one answer, a model's thinking included"""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """seconds for one answer, waiting for a busy server included"""
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    """drafts that are asked for, each with what was wrong with the one before"""
    max_cost: Annotated[float, Field(gt=0, le=1000)] | None = None
    """of all answers to one command, in the currency of `price`"""
    price: Annotated[str, Field(pattern=PRICE)] | None = None
    """of a million tokens read / written, for example 2.5/10"""

    @field_validator("base_url")
    @classmethod
    def _plain(cls, url: str | None) -> str | None:
        return None if url is None else plain_address(url)


def plain_address(url: str) -> str:
    """A server's address ("" stays so); raises ValueError for what is none, or holds a secret."""
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("expected an address like http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError("an address holds no name, password or key; keys are read from the environment")
    return url.rstrip("/")


def chosen(flags: Mapping[str, Any]) -> tuple[ModelSettings, bool]:
    """The settings of flags (None: not given), over the remembered ones if no model is named; whether these count."""
    given = {name: value for name, value in flags.items() if value is not None}
    remembered = None if "model" in given else recall()
    values = remembered.model_dump(exclude_unset=True) if remembered else {}
    try:
        return ModelSettings.model_validate({**values, **given}), remembered is not None
    except ValidationError as error:
        problem = error.errors()[0]
        flag = "--" + str(problem["loc"][0]).replace("_", "-")
        shown = "" if flag == "--base-url" else f" {problem['input']}"  # an address may hold a key
        raise ManyheadsError(f"{flag}{shown}: {problem['msg'].removeprefix('Value error, ')}.") from None


def config_file() -> Path:
    """Where a default model is remembered."""
    root = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return root / "manyheads" / "goal.yaml"


def recall() -> ModelSettings | None:
    """The remembered settings; None where nothing is remembered."""
    path = config_file()
    return yamlfile.read(path).check(ModelSettings) if path.exists() else None


def remember(settings: ModelSettings) -> Path:
    """Makes settings the default of later commands. They hold no key."""
    values = {"model": settings.model, **settings.model_dump(mode="json", exclude_defaults=True)}
    write_text(config_file(), "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()))
    return config_file()
