"""The hub's client, and what goes wrong with it in words with the next step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from manyheads import ManyheadsError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ENDPOINT = "https://huggingface.co"


def endpoint() -> str:
    """Where the hub is: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT") or ENDPOINT


def client() -> HfApi:
    """The hub's own client, which finds its token where `hf auth login` put it, or in HF_TOKEN."""
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError:
        raise ManyheadsError(
            "The hub needs huggingface_hub, not installed here. Install with `pip install 'manyheads[hub]'`."
        ) from None
    return HfApi(endpoint=endpoint(), library_name="manyheads")


@contextmanager
def explained(repository: str, doing: str) -> Iterator[None]:
    """What the client raises inside becomes a ManyheadsError."""
    from huggingface_hub import errors

    # Of the HTTP library that this version of the client uses.
    unreachable: type[Exception] = next(base for base in errors.HfHubHTTPError.__bases__ if issubclass(base, Exception))
    try:
        yield
    except errors.HFValidationError as error:
        raise ManyheadsError(f"{repository!r} is not a repository's name: {error} Expected OWNER/NAME.") from None
    except errors.GatedRepoError:
        raise ManyheadsError(
            f"{repository} is open to those alone who were let in: ask for it at {endpoint()}/{repository}."
        ) from None
    except errors.RepositoryNotFoundError:
        raise ManyheadsError(
            f"There is no repository {repository} at {endpoint()}, or it is private. `hf auth login` says who you are."
        ) from None
    except errors.RevisionNotFoundError:
        raise ManyheadsError(f"{repository} has no such revision. Leave out --revision for the newest.") from None
    except errors.LocalTokenNotFoundError:
        raise ManyheadsError(f"{endpoint()} wants to know who you are: `hf auth login`, or set HF_TOKEN.") from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else "an error"
        login = " `hf auth login` says who you are." if code in (401, 403) else " Try again later."
        raise ManyheadsError(f"{endpoint()} answered {code} when {doing} {repository}.{login}") from None
    except (unreachable, ConnectionError, errors.LocalEntryNotFoundError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ManyheadsError(
            f"{endpoint()} can't be reached ({reason}). Nothing was lost; try again with a network, or hand on the "
            "file itself."
        ) from None
