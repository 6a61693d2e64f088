"""How the run is shared out among worker processes (pytest-xdist).

A file's tests stay together, since they share what is costly to make. So do all files that want the one consortium of
real processes; they are one long chain, and are dealt out first so that no worker waits for them at the end.
"""

from pathlib import PurePosixPath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

CHAIN = "one consortium"


class Chained(LoadScopeScheduling):
    """Deals out whole files, and the chain as one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return CHAIN if _is_chained(file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Chained(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not _is_chained(item.nodeid.partition("::")[0]))


def _is_chained(file: str) -> bool:
    return PurePosixPath(file).name.startswith("test_consortium_")
