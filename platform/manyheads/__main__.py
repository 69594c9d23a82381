"""The command `manyheads`: a user's mistake is one message and exit code 1, Ctrl-C is exit code 130."""

import io
import os
import sys

import click

from manyheads.cli import manyheads
from manyheads.errors import ManyheadsError
from manyheads.report.text import plain


def main() -> None:
    """Runs the command line and exits."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without a character gets its code: in JSON it means the same
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = manyheads.main(prog_name="manyheads", standalone_mode=False)
    except ManyheadsError as error:
        click.echo(plain(f"Error: {error}"), err=True)
        code = 1
    except PermissionError as error:
        click.echo(
            f"Error: {error.filename}: {error.strerror}. Let this user use it, or choose another place.", err=True
        )
        code = 1
    except OSError as error:
        click.echo(
            f"Error: {error.filename or 'output'}: {error.strerror}. Make room, or choose another place.", err=True
        )
        code = 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.stdout.flush()
        os._exit(130)  # all has been closed on the way here; a normal exit waits for torch's compilers
    sys.exit(code)


if __name__ == "__main__":
    main()
