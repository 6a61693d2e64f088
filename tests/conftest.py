"""How the run is shared out among worker processes (pytest-xdist, ``--dist loadgroup``).

A file's tests stay together, since they share what is costly to make. So do all files that want the one consortium of
real processes; they are one long chain, and are dealt out first so that no worker waits for them at the end.
"""

import pytest

CHAIN = "one consortium"


# First: pytest-xdist reads the marks in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        chained = item.path.name.startswith("test_consortium_")
        item.add_marker(pytest.mark.xdist_group(CHAIN if chained else item.path.stem))
    items.sort(key=lambda item: not item.path.name.startswith("test_consortium_"))
