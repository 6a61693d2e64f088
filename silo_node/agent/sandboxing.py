"""Puts on the record in which sandbox this node's rows are read."""

from typing import Final

import structlog

from silo_node.agent.silo import Silo
from silo_node.runner.box.box import Level
from silo_node.runner.level import WORDS

NONE: Final = "rows are read in no sandbox: this machine offers none, and silo.toml accepts that (sandbox)"

log = structlog.get_logger()


def record_level(silo: Silo, level: Level) -> None:
    """In the log at each start; in the journal too, as a warning, where it is none."""
    log.info("sandbox", level=level, what=WORDS[level])
    if level == "none":
        silo.voice.note("warning", NONE, None)
