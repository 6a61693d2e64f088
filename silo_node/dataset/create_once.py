"""Private files that are made once and never replaced: registrations and keys."""

import os
import secrets
from pathlib import Path

from silo_node.private_files import sync_folder, write_private


def create_private(path: Path, data: bytes) -> bool:
    """Write ``path`` (0600), durable, whole or not at all; False if it was there already and is left as it is.

    A hard link fails where the name is taken, so of two processes that race one wins and none overwrites.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_private(draft, data)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True
