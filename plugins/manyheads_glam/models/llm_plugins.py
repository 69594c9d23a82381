"""Every model that the `llm` package and its plugins know. Their keys and servers are theirs (`llm keys`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import llm
from llm.plugins import pm

from manyheads import ManyheadsError
from manyheads.errors import unknown
from manyheads_glam.models.cache import Answer, Answers
from manyheads_glam.models.chat import ChatModel, Say
from manyheads_glam.models.settings import ModelSettings

TOKEN_LIMITS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict")
"""what plugins call their limit on an answer's tokens"""


class LlmModel(ChatModel):
    """A model of an `llm` plugin, with its schema where the plugin takes one."""

    def __init__(self, settings: ModelSettings, answers: Answers, say: Say) -> None:
        name = settings.model.partition(":")[2]
        if settings.base_url is not None:
            raise ManyheadsError(
                f"--base-url is for openai: and anthropic: models; {settings.model} has its plugin's own."
            )
        self._model = _find(name)
        limits = [option for option in TOKEN_LIMITS if option in self._model.Options.model_fields]
        self._limit = limits[0] if limits else None
        address = f"the llm plugin {type(self._model).__module__}"
        note = "" if limits else "which takes no limit on tokens"
        super().__init__(settings, answers, say, address=address, note=note, free=False, secrets=[_key(self._model)])

    def ask(self, prompt: str, schema: Mapping[str, Any] | None, max_tokens: int, seconds: float) -> Answer:
        options = {self._limit: max_tokens} if self._limit else {}
        form = dict(schema) if schema is not None and self._model.supports_schema else None
        try:
            response = self._model.prompt(prompt, schema=form, stream=False, options=options)
            text = response.text()
            usage = response.usage()
        except llm.NeedsKeyException as error:
            raise ManyheadsError(f"{self.name}: {self.clean(error)}") from None
        except Exception as error:  # whatever a plugin raises
            raise ManyheadsError(
                f"{self.name} could not answer: {type(error).__name__}: {self.clean(error)} "
                f"Does `{_command(f'-m {self._model.model_id} hello')}` work?"
            ) from None
        return Answer(text=text, tokens_in=usage.input or 0, tokens_out=usage.output or 0, cut_off=_cut_off(response))


@cache
def _plugins() -> tuple[list[str], dict[str, str]]:
    """The packages whose plugins of `llm` load, and why others do not, by name.

    Those that do not are blocked, as one of them keeps all others from loading.
    """
    sound, broken = [], {}
    for entry in entry_points(group="llm"):
        try:
            entry.load()
        except (Exception, SystemExit) as error:  # whatever a plugin raises, the others continue
            pm.set_blocked(entry.name)
            broken[entry.name] = f"{type(error).__name__}: {error}"
        else:
            sound.append(entry.dist.name if entry.dist else entry.name)
    return sound, broken


def _command(rest: str) -> str:
    """A command of `llm` that works here: it stops at plugins that do not load, unless the others are named."""
    sound, broken = _plugins()
    return f"LLM_LOAD_PLUGINS={','.join(sound)} llm {rest}" if broken else f"llm {rest}"


def _find(name: str) -> Any:
    _, broken = _plugins()
    models = llm.get_model_aliases()
    if name in models:
        return models[name]
    reasons = "".join(f" Its plugin {plugin} did not load ({reason})." for plugin, reason in broken.items())
    raise ManyheadsError(f"{unknown('model of llm', name, models, _command('models'))}{reasons}")


def _key(model: Any) -> str:
    """The plugin's key, to be kept out of texts; "" where it has none yet."""
    try:
        return str(model.get_key() or "")
    except llm.ModelError:
        return ""


def _cut_off(response: Any) -> bool:
    """Whether the plugin passed on that the answer ended at its limit."""
    data = response.response_json if isinstance(response.response_json, dict) else {}
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else data
    return any(first.get(key) in ("length", "max_tokens") for key in ("finish_reason", "stop_reason", "done_reason"))
