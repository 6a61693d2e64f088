"""``consortia-silo health``: whether the node on this folder does its work; for service managers and containers."""

from pathlib import Path

import typer

from silo_node.agent.pulse import check_pulse
from silo_node.app import now
from silo_node.commands.options import Folder, out
from silo_node.config import load
from silo_node.runner.level import WORDS, sandbox_level

app = typer.Typer()


@app.command()
def health(folder: Folder = Path("silo")) -> None:
    """Exit code 0 if the running node verified the hub's log lately or is at work on it, 1 if not.

    Says too which sandbox this machine offers to what reads rows.
    """
    out.print(f"healthy: {check_pulse(folder, load(folder), now())}", soft_wrap=True, highlight=False)
    out.print(f"sandbox: {WORDS[sandbox_level()]}", soft_wrap=True, highlight=False)
