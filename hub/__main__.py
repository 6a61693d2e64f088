"""The `consortia-hub` command."""

import json
import logging
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn

from hub.api.self_check import wait_for_health
from hub.api.server import HubServer
from hub.app import make_app
from hub.config import keys
from hub.config.key_ring import new_pair
from hub.config.keys import HubKeys
from hub.config.secret_files import read_passphrase
from hub.config.settings import SETTINGS_FILE, HubSettings, is_loopback, load
from hub.config.tls import require_tls
from hub.errors import SetupRefused, Unhealthy

GRACE_S = 2
"""For requests that are under way when the hub is told to stop."""
LOOPBACK = ["127.0.0.1", "::1"]
"""From where a proxy's word is taken on who calls: only when there is a proxy, and only for limits."""

cli = typer.Typer(add_completion=False, no_args_is_help=True, help="The hub of a consortium.")
Folder = Annotated[
    Path, typer.Option(envvar="CONSORTIA_HUB_FOLDER", help="The hub's folder: settings, keys, database, chunks.")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        envvar="CONSORTIA_HUB_KEY_PASSPHRASE_FILE", help="A private file: the passphrase that the hub's keys get."
    ),
]
log = structlog.get_logger()


@cli.command()
def init(
    folder: Folder,
    consortium: Annotated[str, typer.Option(help="The consortium's name, as its charter will state it.")],
    origin: Annotated[str, typer.Option(help="The log's origin; by default made of name and key.")] = "",
    public_origin: Annotated[
        str, typer.Option(help="The address that silos and people will call; none for this machine alone.")
    ] = "",
    key_passphrase_file: PassphraseFile = None,
) -> None:
    """Make the hub's keys and settings, and print the card that the admin's charter is made from."""
    try:
        card = create(folder, consortium, origin, key_passphrase_file, public_origin)
        typer.echo(json.dumps(card, indent=2))
    except SetupRefused as error:
        _fail(error)


@cli.command()
def rotate(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="Write the hub's new card there, too.")] = None,
) -> None:
    """Make the hub's next keys beside the present ones, and print its new card for consortia admin charter rotate-hub.

    Nothing else changes: the hub uses the new keys from the moment that a charter names them.
    """
    try:
        settings = load(folder)
        made = new_pair(settings.keys, read_passphrase(settings.key_passphrase_file))
    except SetupRefused as error:
        _fail(error)
    card = json.dumps(_card(settings.consortium, settings.log_origin, made), indent=2)
    typer.echo(card)
    if out is not None:
        try:
            out.write_text(card + "\n", encoding="utf-8")
        except OSError as error:
            _fail(SetupRefused(f"{out} can't be written: {error.strerror}; the keys are made, their card is above"))


@cli.command()
def serve(
    folder: Folder,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    behind_proxy: Annotated[bool, typer.Option(help="A proxy on this machine ends TLS.")] = False,
) -> None:
    """Run the hub until it is stopped."""
    log_to_stderr()
    given: dict[str, Any] = {"host": host, "port": port, "behind_proxy": behind_proxy or None}
    try:
        settings = load(folder, {name: value for name, value in given.items() if value is not None})
        require_tls(settings)
        app = make_app(settings)
    except SetupRefused as error:
        _fail(error)
    _warn_of_open_keys(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.behind_proxy,
        forwarded_allow_ips=LOOPBACK,
        timeout_graceful_shutdown=GRACE_S,
    )
    HubServer(config, app.state.stopping).run()


@cli.command()
def health(
    folder: Folder,
    wait_s: Annotated[float, typer.Option(min=0, max=600, help="Ask again for so long, if it doesn't answer.")] = 0,
    port: Annotated[
        int | None, typer.Option(help="The port that serve was given, if it isn't that of hub.toml.")
    ] = None,
) -> None:
    """Ask the hub that runs on this folder whether it works; exit code 0 if it does, 1 if not."""
    try:
        settings = load(folder, {} if port is None else {"port": port})
        wait_for_health(settings, wait_s, time.monotonic, time.sleep)
    except SetupRefused as error:
        _fail(error)
    except Unhealthy as problem:
        typer.echo(f"consortia-hub: unhealthy: {problem}", err=True)
        raise typer.Exit(1) from None
    typer.echo("healthy")


@cli.command("seal-keys")
def seal_keys(
    folder: Folder,
    key_passphrase_file: PassphraseFile = None,
    old_passphrase_file: Annotated[Path | None, typer.Option(help="The passphrase until now, if any.")] = None,
) -> None:
    """Seal the hub's keys by a passphrase, or by another one than until now. Name its file in hub.toml then."""
    try:
        new = read_passphrase(key_passphrase_file)
        if new is None:
            raise SetupRefused("give --key-passphrase-file: a private file with the new passphrase")
        keys.reseal(folder / "keys", read_passphrase(old_passphrase_file), new)
    except SetupRefused as error:
        _fail(error)
    typer.echo(f"sealed; hub.toml must say: key_passphrase_file = {json.dumps(str(_whole(key_passphrase_file)))}")


def create(
    folder: Path,
    consortium: str,
    origin: str = "",
    key_passphrase_file: Path | None = None,
    public_origin: str = "",
) -> dict[str, str]:
    """Make a hub in `folder` and return its card: public keys in hex and the log's origin. Raises `SetupRefused`."""
    passphrase = read_passphrase(key_passphrase_file)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / SETTINGS_FILE).exists():
        raise SetupRefused(f"{folder / SETTINGS_FILE} exists; this folder holds a hub already")
    if not consortium.isprintable() or not consortium.strip():
        raise SetupRefused("consortium: a name in printable characters is needed")
    made = keys.create(folder / "keys", passphrase)
    slug = re.sub(r"[^a-z0-9]+", "-", consortium.lower()).strip("-")[:60] or "consortium"
    origin = origin or f"{slug}/{made.log_public[:8]}"
    # A JSON string of printable characters is a TOML string too.
    lines = [f"consortium = {json.dumps(consortium, ensure_ascii=False)}", f"log_origin = {json.dumps(origin)}"]
    if key_passphrase_file is not None:
        lines.append(f"key_passphrase_file = {json.dumps(str(_whole(key_passphrase_file)), ensure_ascii=False)}")
    if public_origin:
        lines.append(f"public_origin = {json.dumps(public_origin)}")
    (folder / SETTINGS_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    load(folder)
    return _card(consortium, origin, made)


def _card(consortium: str, origin: str, pair: HubKeys) -> dict[str, str]:
    return {
        "consortium": consortium,
        "hub_key": pair.hub_public,
        "log_key": pair.log_public,
        "log_origin": origin,
    }


def log_to_stderr() -> None:
    """Structured lines to stderr: no tokens, no bodies, no query strings."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def _whole(path: Path | None) -> Path:
    """A path that holds from any working folder; links stay, as a service manager may move what is behind them."""
    return (path or Path()).absolute()


def _warn_of_open_keys(settings: HubSettings) -> None:
    if settings.key_passphrase_file is None and (settings.behind_proxy or not is_loopback(settings.host)):
        log.warning("keys-without-passphrase", remedy="consortia-hub seal-keys", folder=str(settings.keys))


def _fail(error: SetupRefused) -> None:
    typer.echo(f"consortia-hub: {error}", err=True)
    raise typer.Exit(2)


def main() -> None:
    """Entry point of the installed command."""
    cli()


if __name__ == "__main__":
    main()
