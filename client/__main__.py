"""The ``consortia`` command. An error is one line with its remedy; exit code 1 for a refusal, 2 for wrong usage."""

import os
import sys

import typer

from client.commands import admin, audit, datasets, job, keys, study
from client.commands.options import err
from client.errors import ClientError
from protocol.errors import DraftRefused, ProtocolError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Private studies across institutions: for researchers, admins and compliance officers.",
)
app.add_typer(keys.app, name="keys")
app.add_typer(datasets.app)
app.add_typer(study.app, name="study")
app.add_typer(job.app, name="job")
app.add_typer(admin.app, name="admin")
app.add_typer(audit.app, name="audit")

UNEXPECTED = 70


def main() -> None:
    """Run the command on this process's arguments."""
    try:
        app()
    except ClientError as error:
        _fail(str(error), error.exit_code)
    except DraftRefused as error:
        _fail(str(error), 2)
    except ProtocolError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or type(error).__name__}", 2)
    except Exception as error:  # a person must not meet a traceback, which may hold what they typed
        if os.environ.get("CONSORTIA_TRACEBACK"):
            raise
        _fail(f"unexpected {type(error).__name__}; set CONSORTIA_TRACEBACK=1 to see where, and report it", UNEXPECTED)


def _fail(message: str, code: int) -> None:
    err.print(f"error: {message}", markup=False, style="red", soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
