"""Datasets as syft datasets: what goes wrong with the bare libraries, and that none of it goes wrong here.

A test named after a trap shows it first: if a later version of the library closes it, the test says so by failing.
"""

import os
import shutil
import stat
from pathlib import Path

import pytest
import yaml
from syft_datasets.dataset_manager import SyftDatasetManager
from syft_permissions import Access, AccessLevel, ACLRequest, ACLService, Rule, RuleSet, User

from protocol.mock import MARK, NOTICE, mock_rows
from protocol.published_column import PublishedColumn
from silo_node.dataset import shelf as shelf_module
from silo_node.dataset.audience import RULES, may_read, person_address, readers_of, silo_address, write_readers
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Registration
from silo_node.dataset.shelf import MOCK, REFERENCE, Published, Shelf
from silo_node.errors import DatasetRefused
from silo_node.private_files import write_private
from tests.unit.silo_node.dataset.conftest import TABLE

OWNER = silo_address("berlin")
COLUMNS = (
    PublishedColumn(name="age", kind="number", minimum=18.0, maximum=100.0, unit="years"),
    PublishedColumn(name="ill", kind="binary", minimum=0.0, maximum=1.0),
)
PEOPLE = ("ada", "grace")
PATTERNS = ["*", "**", "?????", "gr*", "USER", "grace@people.invalid", "", "grace\n", "../grace"]


def published(name: str = "clinic", commitment: str = "a" * 64) -> Published:
    return Published(name, "A clinic", COLUMNS, 40, commitment)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "silo" / "syft", "berlin")


@pytest.fixture
def bare(tmp_path: Path) -> SyftDatasetManager:
    """The library as it comes, with a table and a private file beside it."""
    (tmp_path / "table.csv").write_text("age,ill\n30,1\n")
    (tmp_path / "rows.csv").write_text("age,ill\n71,1\n")
    (tmp_path / "bare").mkdir()
    return SyftDatasetManager(tmp_path / "bare", OWNER)


def service(datasite: Path) -> ACLService:
    """The library's own answer, from all rules files that it finds."""
    made = ACLService(owner=OWNER)
    made.load_permissions_from_filesystem(datasite)
    return made


def reads(rules: ACLService, path: str, user: str) -> bool:
    return bool(rules.can_access(ACLRequest(path=path, level=AccessLevel.READ, user=User(id=user))))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def modes(folder: Path) -> set[tuple[bool, int]]:
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (folder, *folder.rglob("*"))}


def private_files(shelf: Shelf, name: str = "clinic") -> list[str]:
    """The files of a private side, by their path in the datasite."""
    datasite = shelf.folder / OWNER
    return [path.relative_to(datasite).as_posix() for path in files(datasite / "private") if name in path.parts]


def test_a_dataset_stands_on_the_shelf_as_pysyft_lays_it_out(shelf: Shelf) -> None:
    assert shelf.keep([published()], PEOPLE) == ("clinic",)
    found = SyftDatasetManager(shelf.folder, OWNER)["clinic"]
    assert (found.name, found.owner, found.summary, found.tags) == ("clinic", OWNER, "A clinic", ["mock"])
    assert [path.name for path in found.mock_files] == [MOCK]
    assert [path.name for path in found.private_files] == [REFERENCE]
    assert found.private_config.data_dir == found.private_dir
    assert NOTICE in (found.get_readme() or "")


def test_its_mock_rows_are_those_that_everyone_makes_from_the_published_schema(shelf: Shelf) -> None:
    shelf.keep([published()], PEOPLE)
    text = shelf.mock("clinic", "grace").decode()
    assert text == "".join(mock_rows("berlin", "clinic", COLUMNS, 40).csv())
    assert text.startswith(MARK) and len(text.splitlines()) == 41


def test_mock_rows_are_seen_by_the_consortiums_people_and_by_nobody_else(shelf: Shelf) -> None:
    shelf.keep([published()], PEOPLE)
    assert shelf.readers("clinic") == PEOPLE
    with pytest.raises(DatasetRefused, match="eve may not see its mock rows"):
        shelf.mock("clinic", "eve")


def test_who_may_see_mock_rows_follows_the_people(shelf: Shelf) -> None:
    shelf.keep([published()], PEOPLE)
    assert shelf.keep([published()], ("grace", "rosa")) == ()
    assert shelf.mock("clinic", "rosa")
    with pytest.raises(DatasetRefused, match="ada may not see"):
        shelf.mock("clinic", "ada")


def test_the_private_side_is_for_nobody_by_the_librarys_own_word(shelf: Shelf) -> None:
    shelf.keep([published()], PEOPLE)
    rules = service(shelf.folder / OWNER)
    held = private_files(shelf)
    assert len(held) == 3
    for user in (*map(person_address, PEOPLE), "eve@example.org", "*", "USER"):
        assert not any(reads(rules, path, user) for path in held)
        assert not reads(rules, "private/anything/else", user)


def test_the_private_side_holds_no_row_and_not_where_rows_are(
    shelf: Shelf, catalogue: Catalogue, registration: Registration
) -> None:
    dataset = catalogue.add(registration, catalogue.check, "2026-11-24T12:00:00Z")
    shelf.keep([Published("clinic", "A clinic", COLUMNS, 4, dataset.commitment)], PEOPLE)
    held = b"".join(path.read_bytes() for path in files(shelf.folder))
    for secret in ("p-1", "p-4", "secret-ward", "145.5", registration.source, *TABLE.splitlines()):
        assert secret.encode() not in held
    assert dataset.commitment.encode() in held


def test_a_shelf_gives_rows_in_no_way_but_mock_ones() -> None:
    assert sorted(name for name in vars(Shelf) if not name.startswith("_")) == [
        "folder",
        "keep",
        "mock",
        "names",
        "readers",
        "silo",
    ]


@pytest.mark.parametrize("name", ["../../../../stolen", "..", "a/b", "/tmp/stolen", "clinic\n", "Clinic", "", "."])
def test_trap_a_dataset_name_that_climbs(shelf: Shelf, name: str) -> None:
    shelf.keep([published()], PEOPLE)
    before = sorted(files(shelf.folder))
    for call in (lambda: shelf.mock(name, "grace"), lambda: shelf.readers(name)):
        with pytest.raises(DatasetRefused, match="dataset name"):
            call()
    with pytest.raises(DatasetRefused, match="dataset name"):
        shelf.keep([published(name)], PEOPLE)
    assert sorted(files(shelf.folder)) == before


def test_trap_a_dataset_name_that_climbs_leaves_the_bare_librarys_folder(
    bare: SyftDatasetManager, tmp_path: Path
) -> None:
    bare.create("../../stolen", tmp_path / "table.csv", tmp_path / "rows.csv")
    assert (tmp_path / "bare" / OWNER / "stolen" / "rows.csv").exists()


def test_trap_a_reader_that_is_a_pattern_is_everybody(bare: SyftDatasetManager, tmp_path: Path) -> None:
    bare.create("clinic", tmp_path / "table.csv", tmp_path / "rows.csv", users=["**"])
    assert reads(service(tmp_path / "bare" / OWNER), "public/syft_datasets/clinic/table.csv", "eve@example.org")
    everyone = RuleSet(rules=[Rule(pattern="**", access=Access(read=["USER"]))])
    placeholder = ACLService(owner=OWNER)
    placeholder.add_ruleset(everyone)
    assert reads(placeholder, "anything", "eve@example.org")


@pytest.mark.parametrize("reader", PATTERNS)
def test_a_reader_that_is_a_pattern_is_refused_and_nothing_is_opened(shelf: Shelf, reader: str) -> None:
    with pytest.raises(DatasetRefused, match="a pattern is none"):
        shelf.keep([published()], ("grace", reader))
    assert "clinic" not in shelf.names() or shelf.readers("clinic") == ()
    shelf.keep([published()], PEOPLE)
    with pytest.raises(DatasetRefused, match="a pattern is none"):
        shelf.mock("clinic", reader)


@pytest.mark.parametrize("reader", ["*", "**", "USER", "gr*@people.invalid", "eve@example.org", "?*@people.invalid"])
def test_rules_that_somebody_edited_let_nobody_in_until_they_are_kept_again(shelf: Shelf, reader: str) -> None:
    shelf.keep([published()], PEOPLE)
    rules = shelf.folder / OWNER / "public" / "syft_datasets" / "v1" / "clinic" / RULES
    value = yaml.safe_load(rules.read_text())
    value["rules"][0]["access"]["read"].append(reader)
    write_private(rules, yaml.safe_dump(value).encode())
    for person in ("grace", "eve"):
        with pytest.raises(DatasetRefused, match="not as it was written"):
            shelf.mock("clinic", person)
    shelf.keep([published()], PEOPLE)
    assert shelf.readers("clinic") == PEOPLE


def test_trap_of_two_rules_that_fit_equally_well_the_first_one_wins(tmp_path: Path) -> None:
    opened = Rule(pattern="mock*", access=Access(read=["*"]))
    closed = Rule(pattern="*.csv", access=Access(read=[]))
    answers = []
    for order in ([opened, closed], [closed, opened]):
        rules = ACLService(owner=OWNER)
        rules.add_ruleset(RuleSet(rules=list(order)))
        answers.append(reads(rules, "mock.csv", "eve@example.org"))
    assert answers == [True, False]
    write_readers(tmp_path, PEOPLE)
    value = yaml.safe_load((tmp_path / RULES).read_text())
    for order in ([opened, closed], [closed, opened]):
        both = value | {"rules": [rule.model_dump(mode="json") for rule in order]}
        write_private(tmp_path / RULES, yaml.safe_dump(both).encode())
        with pytest.raises(DatasetRefused, match="not as it was written"):
            readers_of(tmp_path)


def test_trap_a_rules_file_among_the_private_files_opens_them(bare: SyftDatasetManager, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "rows.csv").write_text("age,ill\n71,1\n")
    RuleSet(rules=[Rule(pattern="**", access=Access(read=["*"]))]).save(source / "deep" / RULES)
    bare.create("clinic", tmp_path / "table.csv", source)
    path = "private/syft_datasets/clinic/deep/rows.csv"
    assert reads(service(tmp_path / "bare" / OWNER), path, "eve@example.org")


def test_a_rules_file_that_is_dropped_on_the_private_side_opens_nothing(shelf: Shelf) -> None:
    shelf.keep([published()], PEOPLE)
    dropped = shelf.folder / OWNER / "private" / "syft_datasets" / "v1" / "clinic"
    for folder in (dropped, dropped.parent):
        RuleSet(rules=[Rule(pattern="**", access=Access(read=["*"]))]).save(folder / RULES)
    rules = service(shelf.folder / OWNER)
    assert not any(reads(rules, path, "eve@example.org") for path in private_files(shelf))


def test_trap_files_are_for_everybody_on_the_machine(bare: SyftDatasetManager, tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        bare.create("clinic", tmp_path / "table.csv", tmp_path / "rows.csv")
    finally:
        os.umask(old)
    assert (False, 0o644) in modes(tmp_path / "bare")


def test_every_file_is_the_silos_alone_whatever_the_umask(shelf: Shelf) -> None:
    old = os.umask(0)
    try:
        shelf.keep([published()], PEOPLE)
        shelf.keep([published()], ("grace",))
    finally:
        os.umask(old)
    assert modes(shelf.folder) == {(True, 0o700), (False, 0o600)}


def test_a_shelf_that_others_may_enter_is_refused(shelf: Shelf) -> None:
    shelf.keep([published()], PEOPLE)
    shelf.folder.chmod(0o755)
    with pytest.raises(DatasetRefused, match="chmod 700"):
        shelf.keep([published("other")], PEOPLE)


def test_trap_a_failure_leaves_half_a_dataset_that_is_in_the_way(bare: SyftDatasetManager, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Private data path"):
        bare.create("clinic", tmp_path / "table.csv", tmp_path / "absent.csv")
    with pytest.raises(FileExistsError):
        bare.create("clinic", tmp_path / "table.csv", tmp_path / "rows.csv")


@pytest.mark.parametrize("step", ["mock_rows", "write_readers", "sync_folder"])
def test_a_failure_at_any_step_leaves_nothing_half_and_the_next_try_goes_through(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(shelf_module, step, full)
        with pytest.raises(DatasetRefused, match="No space left on device"):
            shelf.keep([published()], PEOPLE)
    assert not list(shelf.folder.glob(".making-*"))
    listed = [one.name for one in SyftDatasetManager(shelf.folder, OWNER).get_all()]
    assert listed == list(shelf.names())
    shelf.keep([published()], PEOPLE)
    assert shelf.mock("clinic", "grace")


@pytest.mark.parametrize("gone", ["public", "private"])
def test_half_a_dataset_that_a_killed_process_left_is_not_there_and_is_made_anew(shelf: Shelf, gone: str) -> None:
    shelf.keep([published()], PEOPLE)
    shutil.rmtree(shelf.folder / OWNER / gone)
    (shelf.folder / ".making-dead" / "given").mkdir(parents=True)
    assert shelf.names() == ()
    with pytest.raises(DatasetRefused, match="consortia-silo dataset shelf"):
        shelf.mock("clinic", "grace")
    assert shelf.keep([published()], PEOPLE) == ("clinic",)
    assert shelf.mock("clinic", "grace") and not list(shelf.folder.glob(".making-*"))


def test_what_stands_is_made_again_only_if_the_registration_or_the_schema_is_another(shelf: Shelf) -> None:
    assert shelf.keep([published()], PEOPLE) == ("clinic",)
    assert shelf.keep([published(), published("other")], PEOPLE) == ("other",)
    assert shelf.keep([published(commitment="b" * 64)], PEOPLE) == ("clinic",)
    wider = (COLUMNS[0].model_copy(update={"maximum": 120.0}), COLUMNS[1])
    assert shelf.keep([Published("clinic", "A clinic", wider, 40, "b" * 64)], PEOPLE) == ("clinic",)
    assert shelf.names() == ("clinic", "other")


def test_a_silo_that_has_no_shelf_yet_has_no_datasets_on_it(shelf: Shelf) -> None:
    assert shelf.names() == () and not shelf.folder.exists()


@pytest.mark.parametrize("text", ["", "rules: [", "rules: no\n", "- 1\n", "rules: []\nterminal: true\n", "\x00"])
def test_damaged_rules_let_nobody_in(shelf: Shelf, text: str) -> None:
    shelf.keep([published()], PEOPLE)
    write_private(shelf.folder / OWNER / "public" / "syft_datasets" / "v1" / "clinic" / RULES, text.encode())
    with pytest.raises(DatasetRefused, match="nobody may read what it governs"):
        shelf.mock("clinic", "grace")


def test_a_path_that_climbs_is_looked_up_for_nobody(shelf: Shelf) -> None:
    shelf.keep([published()], PEOPLE)
    datasite = shelf.folder / OWNER
    public = datasite / "public" / "syft_datasets" / "v1" / "clinic"
    climbing = public / ".." / ".." / ".." / ".." / "private" / "syft_datasets" / "v1" / "clinic" / REFERENCE
    with pytest.raises(DatasetRefused, match="climbs"):
        may_read(datasite, "berlin", climbing, "grace")
