"""``consortia-silo seal-keys``: the silo's private keys under a passphrase, and the word about it where they aren't."""

from pathlib import Path
from typing import Annotated

import structlog
import typer

from silo_node.commands.options import Folder, PassphraseFile, out
from silo_node.config import FILE, SiloConfig, load, save
from silo_node.errors import ConfigRefused
from silo_node.hub_client.key_files import reseal
from silo_node.hub_client.session import is_this_machine
from silo_node.private_files import read_passphrase

app = typer.Typer()
log = structlog.get_logger()


@app.command("seal-keys")
def seal_keys(
    folder: Folder = Path("silo"),
    key_passphrase_file: PassphraseFile = None,
    old_passphrase_file: Annotated[Path | None, typer.Option(help="The passphrase until now, if any.")] = None,
) -> None:
    """Seal the silo's keys by a passphrase, or by another one than until now."""
    passphrase = read_passphrase(key_passphrase_file)
    if passphrase is None or key_passphrase_file is None:
        raise ConfigRefused("give --key-passphrase-file: a private file with the new passphrase")
    config = load(folder)
    reseal(folder, read_passphrase(old_passphrase_file), passphrase)
    save(config.model_copy(update={"key_passphrase_file": str(key_passphrase_file.absolute())}), folder)
    out.print(f"Sealed; {folder / FILE} names the passphrase's file.", soft_wrap=True, highlight=False)


def warn_of_open_keys(config: SiloConfig) -> None:
    """Said once at the start; not where hub and silo are one machine, as in the demo."""
    if config.key_passphrase_file is None and not is_this_machine(config.hub_url):
        log.warning("keys-without-passphrase", remedy="consortia-silo seal-keys")
