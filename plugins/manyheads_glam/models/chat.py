"""What all models behind an interface share: limits, the cache, waiting for a busy server, keys kept out of texts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import numpy as np

from manyheads import ManyheadsError
from manyheads_glam.models.cache import Answer, Answers
from manyheads_glam.models.sentences import encoder
from manyheads_glam.models.settings import ModelSettings
from manyheads_glam.models.spending import Spending

T = TypeVar("T")
Say = Callable[[str], None]
WAITS = 5
"""so often a busy server is asked again, within the time limit"""
FIRST_WAIT = 0.5
SHOWN = 300
"""characters of a server's own words in an error"""


class Busy(Exception):
    """The server can't answer now; `wait` is how many seconds it asks for (None: it does not say)."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class ChatModel:
    """A language model that is asked over an interface; subclasses say how, in `ask`.

    `address` is where prompts are sent, and `note` what else a person should know of that; `secrets` never get into
    a text.
    """

    drafts = True

    def __init__(
        self,
        settings: ModelSettings,
        answers: Answers,
        say: Say,
        *,
        address: str,
        note: str = "",
        free: bool,
        secrets: Sequence[str] = (),
    ) -> None:
        self.name = settings.model
        self.settings = settings
        self.address = address
        self.where = f"{address}, {note}" if note else address
        self.spending = Spending(settings, free)
        self._answers = answers
        self._say = say
        self._secrets = [secret for secret in secrets if secret]

    def ask(self, prompt: str, schema: Mapping[str, Any] | None, max_tokens: int, seconds: float) -> Answer:
        """One answer. Raises Busy, TimeoutError, or ManyheadsError for what waiting does not help with."""
        raise NotImplementedError

    def generate(self, prompt: str, schema: Mapping[str, Any] | None = None, max_tokens: int = 512) -> str:
        """The kept answer to the same question, or a new one; raises ManyheadsError for anything but a whole answer."""
        key = self._answers.key(
            model=self.name, address=self.address, prompt=prompt, schema=schema, max_tokens=max_tokens
        )
        kept = self._answers.get(key)
        if kept is not None:
            self.spending.cached += 1
            return kept.text
        if not self.spending.asked:
            self._say(f"{self.name} ({self.where}): {self.spending.limits(prompt)}.")
        self.spending.require_room(prompt)
        answer = self._patiently(prompt, schema, max_tokens)
        self.spending.add(answer.tokens_in, answer.tokens_out)
        if answer.refusal:
            raise ManyheadsError(
                f"{self.name} refused to answer: {self.clean(answer.refusal)} Say the goal in other words, or take "
                "another --model."
            )
        if answer.cut_off:
            raise ManyheadsError(
                f"The answer of {self.name} was cut off after {max_tokens} tokens. --max-tokens {2 * max_tokens} gives "
                "it more room (a model's thinking counts)."
            )
        answer = answer.model_copy(update={"text": self.without_secrets(answer.text)})
        self._answers.put(key, answer)
        return answer.text

    def score(self, prompt: str, candidates: Sequence[str]) -> list[float]:
        """Not offered: interfaces do not give the probabilities of given words."""
        raise ManyheadsError(f"{self.name} drafts specifications; it can't weigh options. glam/embedded does.")

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Unit vectors, made on this machine: by the packaged sentence encoder, by words alone where it is missing."""
        return encoder()(texts)

    def without_secrets(self, text: str) -> str:
        """A text in which no key is left."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text

    def clean(self, text: object) -> str:
        """A server's own words, in one short line, ending in a full stop."""
        line = " ".join(self.without_secrets(str(text)).split())
        line = line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
        return line if line.endswith((".", "!", "?", "…")) else f"{line}."

    def _patiently(self, prompt: str, schema: Mapping[str, Any] | None, max_tokens: int) -> Answer:
        """An answer within the time limit; a busy server is asked again as it wants, or ever later."""
        limit = self.settings.timeout
        end = time.monotonic() + limit
        for attempt in range(WAITS + 1):
            left = end - time.monotonic()
            try:
                return within(left, partial(self.ask, prompt, schema, max_tokens, left))
            except TimeoutError:
                raise ManyheadsError(
                    f"{self.name} gave no whole answer within {limit:g} s ({self.address}). --timeout {2 * limit:g} "
                    "waits longer; a smaller model answers sooner."
                ) from None
            except Busy as busy:
                wait = max(busy.wait or 0.0, FIRST_WAIT * 2**attempt)
                if attempt == WAITS or wait >= end - time.monotonic():
                    asks = f" It asks to wait {busy.wait:g} s." if busy.wait else ""
                    raise ManyheadsError(
                        f"{self.name} ({self.address}) is busy: {self.clean(busy.reason)}{asks} Try again later, or "
                        f"with a longer --timeout than {limit:g}."
                    ) from None
                self._say(f"{self.name} is busy: {self.clean(busy.reason)} Asking again in {wait:g} s.")
                time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call; raises TimeoutError after `seconds`, whatever the call is doing then.

    Clients' own timeouts count from one received byte to the next, so that a slow trickle never ends.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # raised again by the waiting thread
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result.result(timeout=max(seconds, 0.001))
