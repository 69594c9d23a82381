"""`manyheads web`: serves a folder's worlds to the browser of this machine."""

from __future__ import annotations

import secrets
import signal
import socket
import webbrowser
from importlib.util import find_spec
from pathlib import Path

import click

from manyheads import ManyheadsError

HOST = "127.0.0.1"
NEEDS = ("starlette", "uvicorn")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one")
@click.option("--open", "open_browser", is_flag=True, help="open the page in this machine's browser")
def web(folder: Path, port: int, open_browser: bool) -> None:
    """Show the worlds in FOLDER, and below it, as a page in the browser.

    The page is for this machine alone: the printed address has a token, without which nothing is answered. It reads the
    folder and starts commands of manyheads in it. Ctrl-C ends it; what it trains is saved first.
    """
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise ManyheadsError(
            f"The page needs {' and '.join(missing)}, not installed here. Install with `pip install 'manyheads[web]'`."
        )
    if not folder.is_dir():
        raise ManyheadsError(f"{folder} is not a folder. Name the folder that your worlds are in, or one world.")
    from manyheads_web.app import serve

    listening = listen(port)
    # A job that a shell started in the background ignores Ctrl-C; uvicorn hands it on to whoever had it before.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    token = secrets.token_urlsafe(24)
    address = f"http://{HOST}:{listening.getsockname()[1]}/?token={token}"
    click.echo(f"The worlds in {folder.resolve()}:\n\n  {address}\n\nCtrl-C ends the page; what it trains is saved.")
    if open_browser:
        webbrowser.open(address)
    serve(folder, token, listening)


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine's own address; raises ManyheadsError where the port can't be had."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise ManyheadsError(
            f"Port {port} can't be used: {error.strerror or error}. If another `manyheads web` has it, open that page; "
            "--port 0 takes a free one."
        ) from None
    return found
