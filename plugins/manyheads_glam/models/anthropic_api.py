"""Anthropic's models, with structured output through a tool whose input is the specification.

Its native structured output takes no recursive schemas, which a grammar of nested expressions needs; tools do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anthropic

from manyheads import ManyheadsError
from manyheads_glam.models.cache import Answer, Answers
from manyheads_glam.models.chat import ChatModel, Say
from manyheads_glam.models.endpoint import endpoint, problem
from manyheads_glam.models.settings import ModelSettings

OFFICIAL = "https://api.anthropic.com"
TOOL = "reward_specification"


class AnthropicModel(ChatModel):
    """A model behind the messages interface."""

    def __init__(self, settings: ModelSettings, answers: Answers, say: Say) -> None:
        self._at = at = endpoint(settings, OFFICIAL, "ANTHROPIC")
        super().__init__(settings, answers, say, address=at.url, note=at.note, free=at.local, secrets=[at.key])
        self._model = settings.model.partition(":")[2]
        self._client = anthropic.Anthropic(api_key=self._at.key or "none", base_url=self._at.url, max_retries=0)
        self._forced = True

    def ask(self, prompt: str, schema: Mapping[str, Any] | None, max_tokens: int, seconds: float) -> Answer:
        try:
            return self._answer(self._message(prompt, schema, max_tokens, seconds))
        except (anthropic.AnthropicError, ValueError) as error:
            raise problem(anthropic, error, self, self._at, self._client) from None

    def _message(self, prompt: str, schema: Mapping[str, Any] | None, max_tokens: int, seconds: float) -> Any:
        """The model's message. Models that always think refuse to be forced to a tool; they are offered it."""
        create: Any = self._client.with_options(timeout=seconds).messages.create
        wanted: dict[str, Any] = {
            "model": self._model,
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": prompt}],
        }
        if schema is None:
            return create(**wanted)
        wanted["tools"] = [
            {"name": TOOL, "description": "Takes the answer: the JSON object.", "input_schema": dict(schema)}
        ]
        if not self._forced:
            return create(**wanted)
        try:
            return create(**wanted, tool_choice={"type": "tool", "name": TOOL})
        except anthropic.BadRequestError:
            message = create(**wanted)
        self._forced = False
        return message

    def _answer(self, message: Any) -> Answer:
        blocks = getattr(message, "content", None)
        if not isinstance(blocks, list):
            raise ManyheadsError(f"{self._at.url} answered {self.name} with no message. Is --base-url right?")
        tools = [json.dumps(block.input) for block in blocks if getattr(block, "type", "") == "tool_use"]
        texts = [block.text for block in blocks if getattr(block, "type", "") == "text"]
        usage = getattr(message, "usage", None)
        return Answer(
            text=tools[0] if tools else "".join(texts),
            tokens_in=getattr(usage, "input_tokens", None) or 0,
            tokens_out=getattr(usage, "output_tokens", None) or 0,
            cut_off=message.stop_reason in ("max_tokens", "model_context_window_exceeded"),
            refusal=("".join(texts) or "it gave no reason") if message.stop_reason == "refusal" else "",
        )
