"""Flags of the goal command that choose a language model and its limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from manyheads_glam.models.settings import ModelSettings

F = TypeVar("F", bound=Callable[..., Any])
USUAL = ModelSettings()

MODEL_FLAGS = (
    click.option(
        "--model",
        metavar="NAME",
        help="openai:NAME, anthropic:NAME, llm:NAME, local:FOLDER, scripted:FILE, or one of `manyheads list models`; "
        f"default: the remembered one, else {USUAL.model}",
    ),
    click.option("--base-url", metavar="URL", help="where a model's server answers: http://127.0.0.1:11434/v1"),
    click.option("--max-tokens", type=int, help=f"of one answer, thinking included; default: {USUAL.max_tokens}"),
    click.option("--timeout", type=float, help=f"seconds for one answer; default: {USUAL.timeout:g}"),
    click.option("--tries", type=int, help=f"attempts at a valid specification; default: {USUAL.tries}"),
    click.option("--max-cost", type=float, help="stop before all answers together could cost more; needs --price"),
    click.option("--price", metavar="READ/WRITTEN", help="of a million tokens read / written, for example 2.5/10"),
)


def model_flags(command: F) -> F:
    """Adds the flags; the command gets them as keywords, None where they are not given."""
    for flag in reversed(MODEL_FLAGS):
        command = flag(command)
    return command
