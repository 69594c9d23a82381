"""Where a model's interface answers and which key goes there; what went wrong there, in words with the next step."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from manyheads import ManyheadsError
from manyheads.errors import unknown
from manyheads_glam.models.chat import Busy, ChatModel
from manyheads_glam.models.settings import ModelSettings, plain_address

BUSY = (408, 409, 425, 429)
"""and everything from 500 on"""
LISTING = 10.0
"""seconds for a list of models"""


@dataclass(frozen=True)
class Endpoint:
    """An address, the key for it ("": none), and the environment variable that the key is from."""

    url: str
    variable: str
    key: str
    official: bool

    @property
    def local(self) -> bool:
        """Whether it answers on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    @property
    def note(self) -> str:
        """Which key goes there, in words."""
        return f"with the key in {self.variable}" if self.key else "without a key"


def endpoint(settings: ModelSettings, official: str, prefix: str) -> Endpoint:
    """The endpoint of `--base-url`, else of PREFIX_BASE_URL, else the provider's own, with the key in PREFIX_API_KEY.

    Raises ManyheadsError where a key is missing, or would be sent where others can read it.
    """
    url = settings.base_url or _from_environment(f"{prefix}_BASE_URL") or official
    variable = f"{prefix}_API_KEY"
    found = Endpoint(url, variable, os.environ.get(variable, "").strip(), url == official)
    if found.official and not found.key:
        raise ManyheadsError(
            f"{settings.model} needs a key: put it into the environment variable {variable}. "
            "A server of your own is named with --base-url."
        )
    if found.key and not url.startswith("https://") and not found.local:
        raise ManyheadsError(
            f"The key in {variable} would go unencrypted to {url}. Use an https:// address; where the server needs "
            f"no key, unset {variable}."
        )
    return found


def _from_environment(variable: str) -> str:
    try:
        return plain_address(os.environ.get(variable, "").strip())
    except ValueError as problem:
        raise ManyheadsError(f"{variable} in the environment: {problem}.") from None


def list_models(sdk: ModuleType, client: Any) -> list[str]:
    """The names of the models that a server lists; none where it does not list any."""
    try:
        return sorted(model.id for model in client.with_options(timeout=LISTING).models.list())
    except (sdk.APIError, ValueError, AttributeError, TypeError):
        return []


def problem(sdk: ModuleType, error: Exception, model: ChatModel, at: Endpoint, client: Any) -> Exception:
    """What a client's error means here: Busy, TimeoutError, or a ManyheadsError.

    `sdk` is `openai` or `anthropic`, whose errors have the same names; `client` is its client.
    """
    if isinstance(error, sdk.APITimeoutError):
        return TimeoutError()
    if isinstance(error, sdk.APIConnectionError):
        step = "Is the server running, and is --base-url right?" if not at.official else "Is there a network?"
        return ManyheadsError(f"Nothing answers at {at.url} ({_cause(error)}). {step}")
    if not isinstance(error, sdk.APIStatusError):
        return ManyheadsError(
            f"{at.url} answered {model.name} with something else than its interface's JSON ({type(error).__name__}). "
            "Is --base-url right? It often ends in /v1."
        )
    status, said = error.status_code, model.clean(_message(error))
    if status in (401, 403):
        if not at.key:
            return ManyheadsError(
                f"{at.url} asks for a key ({status}): put it into the environment variable {at.variable}."
            )
        return ManyheadsError(
            f"{at.url} does not accept the key in {at.variable} for {model.name} ({status}). Put a valid one there."
        )
    if status == 404:
        return _not_found(model, at, list_models(sdk, client))
    if getattr(error, "code", None) == "insufficient_quota" or status == 402:
        return ManyheadsError(f"{at.url} wants payment before {model.name} answers ({status}): {said}")
    if status in BUSY or status >= 500:
        return Busy(f"{status}, {said}", _retry_after(error.response.headers.get("retry-after")))
    return ManyheadsError(f"{at.url} did not accept the request to {model.name} ({status}): {said}")


def _not_found(model: ChatModel, at: Endpoint, known: Sequence[str]) -> ManyheadsError:
    name = model.name.partition(":")[2]
    if not known:
        return ManyheadsError(
            f"{at.url} knows no model {name!r}, or is not the interface's address (404). Such an address often ends "
            "in /v1."
        )
    return ManyheadsError(f"{unknown('model', name, known)} These are the {len(known)} that {at.url} lists.")


def _message(error: Exception) -> str:
    """The server's own words."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else body
    said = inner.get("message") if isinstance(inner, dict) else inner
    return str(said or error)


def _cause(error: Exception) -> str:
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header; a date counts as not said."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
