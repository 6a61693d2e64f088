"""One consortium of real processes for all tests of this folder that want it: founding it takes half a minute."""

from collections.abc import Iterator

import pytest

from compose.loopback import Loopback
from compose.processes import Processes
from tests.federation.rig.hospitals import Hospitals
from tests.federation.rig.proxy import Proxy


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    folder = tmp_path_factory.mktemp("consortium")
    with Processes(folder / "logs") as processes:
        group = Loopback.at(folder, processes)
        with Proxy(group.url) as proxy:
            made = Hospitals(group, proxy)
            made.found()
            yield made


@pytest.fixture
def hospitals(founded: Hospitals) -> Iterator[Hospitals]:
    """The consortium with everything running, whatever the test before did to it."""
    founded.all_up()
    yield founded
    founded.proxy.leave_alone()
