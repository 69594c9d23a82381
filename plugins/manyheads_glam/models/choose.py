"""A language model by the name that a person types: registered, or `kind:NAME`."""

from __future__ import annotations

import logging
import os

from manyheads import LanguageModel, ManyheadsError
from manyheads.imports import install_command
from manyheads.registry import registry
from manyheads_glam.models.cache import Answers, cache_folder
from manyheads_glam.models.chat import ChatModel, Say
from manyheads_glam.models.settings import LEXICON, ModelSettings

logger = logging.getLogger("manyheads")
KINDS = ("local", "adapter", "scripted", "openai", "anthropic", "llm")
"""`openai:NAME` is the model NAME of the registered kind `glam/openai`"""


def choose(settings: ModelSettings, say: Say, cached: bool = True) -> LanguageModel:
    """The language model of these settings; raises ManyheadsError for a wrong name or a missing package.

    `say` shows limits before anything is spent, and waits. Nothing is asked here.
    """
    kind, sign, name = settings.model.partition(":")
    prefixed = bool(sign) and kind in KINDS
    if prefixed and not name:
        raise ManyheadsError(f"--model {settings.model}: name the model, {kind}:NAME.")
    known = registry().models[f"glam/{kind}" if prefixed else settings.model]
    if missing := known.missing():
        raise ManyheadsError(
            f"{settings.model} needs {', '.join(missing)}. `{install_command(known.extra, missing)}`; "
            f"`manyheads doctor` says what is missing. `--model {LEXICON}` needs nothing."
        )
    if not prefixed:
        return known.factory()
    if kind == "local":
        from manyheads_glam.models.local import local

        return local(name)
    if kind == "adapter":
        from manyheads_glam.models.embedded import adapted

        return adapted(name)
    if kind == "scripted":
        from manyheads_glam.models.scripted import scripted

        return scripted(name)
    return _client(kind, settings, Answers(cache_folder() if cached else None), say)


def _client(kind: str, settings: ModelSettings, answers: Answers, say: Say) -> ChatModel:
    if kind == "openai":
        from manyheads_glam.models.openai_server import OpenAIServer

        return OpenAIServer(settings, answers, say)
    if kind == "anthropic":
        from manyheads_glam.models.anthropic_api import AnthropicModel

        return AnthropicModel(settings, answers, say)
    from manyheads_glam.models.llm_plugins import LlmModel

    return LlmModel(settings, answers, say)


def named(kind: str) -> LanguageModel:
    """The model of a kind whose name is in the environment variable MANYHEADS_MODEL, within the usual limits."""
    name = os.environ.get("MANYHEADS_MODEL", "")
    if not name:
        raise ManyheadsError(f"glam/{kind} needs a model's name: set MANYHEADS_MODEL, or use --model {kind}:NAME.")
    return choose(ModelSettings(model=f"{kind}:{name}"), logger.warning)
