"""``consortia-silo join``, ``run`` and ``traffic``: the node itself, and where it stands."""

import signal
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from pages.fingerprint import fingerprint_lines, qr_code
from silo_node.agent.answers import bytes_moved
from silo_node.agent.joining import join as ask_to_join
from silo_node.agent.joining import renew_keys
from silo_node.agent.pulse import Pulse
from silo_node.agent.sandboxing import record_level
from silo_node.app import agent_of, now, one_node, open_silo, patient, set_up_log
from silo_node.commands.options import AsJson, Folder, PassphraseFile, out, print_json
from silo_node.commands.policy import use_policy
from silo_node.commands.sealing import warn_of_open_keys
from silo_node.config import load
from silo_node.runner.level import accepted_level

app = typer.Typer()


@app.command()
def join(
    hub: Annotated[str, typer.Argument(help="The hub's address, https://...")],
    code: Annotated[str, typer.Option(help="The invitation, as the admin gave it: XXXX-...-XXXX.DIGEST")],
    name: Annotated[str, typer.Option(help="The silo's name that you were invited under.")],
    folder: Folder = Path("silo"),
    key_passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make this silo's keys and ask for membership."""
    words = ask_to_join(folder, hub, name, code, now(), key_passphrase_file)
    use_policy("baseline", folder, quiet=True)
    charter = load(folder).charter
    if as_json:
        print_json({"silo": name, "words": words, "charter": charter})
        return
    out.print(f"[green]Asked to join as [bold]{name}[/bold].[/green] Read these six words to the admin by telephone:\n")
    out.print(f"    [bold]{words}[/bold]\n")
    out.print("The admin admits this silo when the words match. Meanwhile: consortia-silo dataset add, then run.\n")
    out.print("This silo pinned the charter below. Compare it with another member's, or with what the admin shows:\n")
    for line in fingerprint_lines(charter):
        out.print(line, highlight=False, soft_wrap=True)
    out.print(qr_code(charter), markup=False, highlight=False)


@app.command()
def rotate(
    code: Annotated[str, typer.Option(help="The invitation, as the admin gave it: XXXX-...-XXXX.DIGEST")],
    folder: Folder = Path("silo"),
    key_passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make this silo's next keys and ask for them to be put into the charter. The node may run meanwhile."""
    words = renew_keys(folder, code, now(), key_passphrase_file)
    if as_json:
        print_json({"words": words})
        return
    out.print("[green]Asked for new keys.[/green] Read these six words to the admin by telephone:\n")
    out.print(f"    [bold]{words}[/bold]\n")
    out.print("The present keys serve until the admin admits these; then the node uses them by itself.")


@app.command()
def traffic(folder: Folder = Path("silo"), as_json: AsJson = False) -> None:
    """How many bytes this silo sent, by its journal, and fetched as sums, by the log."""
    with open_silo(folder) as (silo, _):
        moved = bytes_moved(silo)
    if as_json:
        print_json(moved)
    else:
        out.print(f"sent {moved['bytes_up']:,} bytes; fetched sums of {moved['bytes_down']:,} bytes")


@app.command()
def run(folder: Folder = Path("silo")) -> None:
    """Run the node: poll the hub, decide, train, seal, verify. Stops on Ctrl-C or SIGTERM, at once."""
    set_up_log()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    warn_of_open_keys(load(folder))  # before anything is made in a folder that is no silo's
    with one_node(folder), open_silo(folder, trains=True) as (silo, config):
        record_level(silo, accepted_level(config.sandbox == "none-accepted"))
        silo.runner.start()
        with closing(Pulse(folder, silo.clock)) as pulse:
            agent_of(silo, config).run(patient(), pulse)


def _leave(*_: object) -> None:
    """Ends the node wherever it is. Every step may be cut short and repeated, as after a crash; a poll lasts 20 s
    and training hours, and who stops a service does not wait for them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)
