"""OpenAI, and every server that speaks its chat completions: vLLM, llama.cpp, Ollama, LM Studio, gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai

from manyheads import ManyheadsError
from manyheads_glam.models.cache import Answer, Answers
from manyheads_glam.models.chat import ChatModel, Say
from manyheads_glam.models.endpoint import endpoint, problem
from manyheads_glam.models.schemas import strict
from manyheads_glam.models.settings import ModelSettings

OFFICIAL = "https://api.openai.com/v1"
SCHEMA_REFUSED = (400, 422, 500, 501)
"""what servers answer that can't follow a schema"""


class OpenAIServer(ChatModel):
    """A model behind chat completions, with structured output where the server has it."""

    def __init__(self, settings: ModelSettings, answers: Answers, say: Say) -> None:
        self._at = at = endpoint(settings, OFFICIAL, "OPENAI")
        super().__init__(settings, answers, say, address=at.url, note=at.note, free=at.local, secrets=[at.key])
        self._model = settings.model.partition(":")[2]
        self._client = openai.OpenAI(api_key=self._at.key or "none", base_url=self._at.url, max_retries=0)
        self._structured = True

    def ask(self, prompt: str, schema: Mapping[str, Any] | None, max_tokens: int, seconds: float) -> Answer:
        try:
            return self._answer(self._completion(prompt, schema, max_tokens, seconds))
        except (openai.APIError, ValueError) as error:
            raise problem(openai, error, self, self._at, self._client) from None

    def _completion(self, prompt: str, schema: Mapping[str, Any] | None, max_tokens: int, seconds: float) -> Any:
        """The server's completion; a server that refuses the schema is asked again without it, now and later."""
        wanted: dict[str, Any] = {"model": self._model, "messages": [{"role": "user", "content": prompt}]}
        # OpenAI's reasoning models refuse `max_tokens` and any temperature; other servers know no other name.
        wanted |= (
            {"max_completion_tokens": max_tokens} if self._at.official else {"max_tokens": max_tokens, "temperature": 0}
        )
        create: Any = self._client.with_options(timeout=seconds).chat.completions.create
        if schema is None or not self._structured:
            return create(**wanted)
        form = {"name": "reward_specification", "strict": True, "schema": strict(schema)}
        try:
            return create(**wanted, response_format={"type": "json_schema", "json_schema": form})
        except openai.APIStatusError as error:
            if error.status_code not in SCHEMA_REFUSED:
                raise
        completion = create(**wanted)
        self._structured = False
        return completion

    def _answer(self, completion: Any) -> Answer:
        choices = getattr(completion, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            raise ManyheadsError(
                f"{self._at.url} answered {self.name} with no chat completion. Is --base-url right? It often ends "
                "in /v1."
            )
        choice, usage = choices[0], getattr(completion, "usage", None)
        refusal = getattr(choice.message, "refusal", None) or ""
        if not refusal and choice.finish_reason == "content_filter":
            refusal = "its content filter stopped the answer"
        return Answer(
            text=choice.message.content or "",
            tokens_in=getattr(usage, "prompt_tokens", None) or 0,
            tokens_out=getattr(usage, "completion_tokens", None) or 0,
            cut_off=choice.finish_reason == "length",
            refusal=refusal,
        )
