"""``consortia-silo policy``: the rules that decide for the data owner."""

from pathlib import Path
from typing import Annotated

import typer

from policies import catalogue as shipped
from silo_node.app import LIMITS, POLICY
from silo_node.commands.options import Folder, out
from silo_node.errors import ConfigRefused
from silo_node.policy.rules import OwnerRules
from silo_node.private_files import write_private

app = typer.Typer(no_args_is_help=True, help="Choose and check the rules that decide.")


@app.command("use")
def use(
    name: Annotated[str, typer.Argument(help="A policy set that ships with the platform.")],
    limits: Annotated[Path | None, typer.Option(help="Your own limits file, instead of the one that ships.")] = None,
    folder: Folder = Path("silo"),
) -> None:
    """Copy a policy set and its limits into the silo's folder, where you may edit them."""
    use_policy(name, folder, limits)


def use_policy(name: str, folder: Path, limits: Path | None = None, quiet: bool = False) -> None:
    if name not in shipped.names():
        raise ConfigRefused(f"policy {name}: there are {', '.join(shipped.names())}")
    if quiet and (folder / POLICY).exists():
        return
    write_private(folder / POLICY, shipped.policy_text(name).encode())
    write_private(folder / LIMITS, limits.read_bytes() if limits else shipped.limits_text(name).encode())
    rules = OwnerRules(folder / POLICY, folder / LIMITS).gate.document.rules
    if not quiet:
        out.print(f"Policy [bold]{name}[/bold]: {len(rules)} rules in {folder / POLICY}, {folder / LIMITS}")
