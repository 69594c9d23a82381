"""Answers of language models, kept in the user's cache folder under the hash of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from manyheads import ManyheadsError
from manyheads.atomic import read_json, write_json

logger = logging.getLogger("manyheads")


class Answer(BaseModel):
    """What a model answered; `cut_off` and `refusal` say that it is not a whole answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    cut_off: bool = False
    refusal: str = ""


def cache_folder() -> Path:
    """The folder of kept answers; it may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "manyheads" / "answers"


class Answers:
    """Kept answers by content: the same model, address, prompt, schema and limits give the same answer for nothing."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` None: nothing is kept and nothing is found."""
        self.folder = folder

    def key(self, **content: Any) -> str:
        """The hash of what an answer depends on."""
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    def get(self, key: str) -> Answer | None:
        """The answer kept under a key; a damaged file counts as none, and is said."""
        if self.folder is None or not (path := self.folder / f"{key}.json").exists():
            return None
        try:
            return Answer.model_validate(read_json(path))
        except (ManyheadsError, ValidationError) as error:
            logger.warning("A kept answer is damaged and asked for again: %s", str(error).splitlines()[0])
            return None

    def put(self, key: str, answer: Answer) -> None:
        """Keeps an answer, readable for this user alone; a full disk costs the cache, not the answer."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept: Mapping[str, Any] = answer.model_dump(exclude_defaults=True)
            write_json(self.folder / f"{key}.json", {"text": answer.text, **kept})
        except (ManyheadsError, OSError) as error:
            logger.warning("The answer was not kept: %s", error)
