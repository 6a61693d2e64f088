"""The options that commands share, and where what they have to say is shown."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Folder = Annotated[Path, typer.Option("--folder", envvar="CONSORTIA_SILO_FOLDER", help="The silo's own folder.")]

out, err = Console(), Console(stderr=True)


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")
