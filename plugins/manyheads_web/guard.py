"""Who may ask: this machine's browser, on this page, with the token.

A page of another site that the same browser shows can send requests here, and by rebinding its own name to
127.0.0.1 even read the answers. So the name that was asked (`Host`) must be local, a request that another origin sent
is refused, and every request needs the token: in the printed address once, from then on as a cookie.
"""

from __future__ import annotations

import hashlib
import secrets
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = {"127.0.0.1", "localhost", "::1"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MOST_BYTES = 64 * 1024
"""of a request's body"""


class Guard:
    """Lets a request through to `app`, or answers why not."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._token = token
        self.cookie = f"manyheads_{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers, given = Headers(scope=scope), self._given_in_address(scope)
        problem = _foreign(scope, headers, given is not None) or self._unknown(headers, given) or _body(scope, headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered.setdefault(name, value)
                if given is not None and not problem:
                    answered.append("Set-Cookie", f"{self.cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/")
            await send(message)

        if problem:
            await _answer(scope, problem)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    def _given_in_address(self, scope: Scope) -> str | None:
        """The token of `/?token=…`, the printed address; None for every other one."""
        if scope["path"] != "/" or scope["method"] not in ("GET", "HEAD"):
            return None
        found = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        return found[0] if found else None

    def _unknown(self, headers: Headers, given: str | None) -> str:
        """Why the request is not known to come from who was told the token; empty where it is."""
        if given is None:
            kind, _, bearer = headers.get("authorization", "").partition(" ")
            given = bearer if kind.lower() == "bearer" else self._in_cookie(headers)
            if not given:
                return "This page needs the token of the address that `manyheads web` printed: open that address."
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return (
                "The token is not that of this page: it was restarted, or the address was cut short. "
                "Open the address that `manyheads web` printed last."
            )
        return ""

    def _in_cookie(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return found.value if found else ""


def _foreign(scope: Scope, headers: Headers, opened: bool) -> str:
    """Why a request comes from elsewhere; empty where it does not. `opened`: as the printed address."""
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    if name not in LOCAL:
        return f"This page answers to 127.0.0.1 and localhost alone, and was asked as {host!r}."
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return f"Requests of other origins are refused; this one came from {origin!r}."
    navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
    if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and not (opened and navigates):
        return "Requests of other pages are refused. Open the address that `manyheads web` printed."
    return ""


def _body(scope: Scope, headers: Headers) -> str:
    """What is wrong with the kind of request; empty where nothing is."""
    if scope["method"] != "POST":
        return ""
    if headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return "Send JSON, with `Content-Type: application/json`."
    length = headers.get("content-length", "")
    if not length.isdigit() or int(length) > MOST_BYTES:
        return f"Send a Content-Length of at most {MOST_BYTES:,} bytes."
    return ""


def _answer(scope: Scope, problem: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": problem}, 403)
    page: dict[str, Any] = {"status_code": 403}
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>manyheads</title><h1>Not shown</h1><p>{escape(problem)}</p></html>",
        **page,
    )
