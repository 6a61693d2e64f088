"""Where the node and its view of the hub's log stand, each as a green or a red line."""

from dataclasses import dataclass
from datetime import datetime

from protocol.charter import Charter, charter_digest, charter_words
from protocol.errors import ProtocolError
from protocol.follow import Follower
from protocol.translog import Checkpoint
from protocol.witnesses import witnesses_of
from silo_node.agent.self_testing import standing
from silo_node.agent.witnessing import may_work
from silo_node.console.desk import Desk
from silo_node.errors import JournalDamaged


@dataclass(frozen=True, slots=True)
class Light:
    """One line: whether all is well, and what is."""

    name: str
    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Witness:
    """``fresh``: it cosigned the checkpoint held within a day."""

    name: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class NodeView:
    lights: tuple[Light, ...]
    facts: tuple[tuple[str, str], ...]
    witnesses: tuple[Witness, ...]


def node_view(desk: Desk) -> NodeView:
    follower = desk.silo.tasks.follower()
    runs, doing = desk.node()
    found = desk.journal_check.found
    whole = found.problem or f"{found.reviewed.entries if found.reviewed else 0} entries, checked from the first on"
    lights = [
        Light("Node and hub", runs, f"{doing[:1].upper()}{doing[1:]}."),
        _log(desk, follower),
        Light("Journal", not found.problem, f"{whole}, at {_clock(found.at)}."),
        _self_test(desk),
    ]
    charter = None if follower is None else follower.charter
    if follower is None or charter is None:
        return NodeView(tuple(lights), _own(desk), ())
    return NodeView(tuple(lights), (*_own(desk), *_read(follower, charter)), _witnesses(desk, charter))


def _log(desk: Desk, follower: Follower | None) -> Light:
    if follower is None or follower.charter is None:
        return Light("Log", False, "The node has not read the hub's log yet. Start it: consortia-silo run")
    problem = may_work(desk.silo, follower.charter)
    if problem is not None:
        return Light("Log", False, f"Not witnessed well enough, so no work is done: {problem}.")
    note = desk.silo.tasks.witnessing.quorate()
    seen = witnesses_of(follower.charter).look(note, desk.silo.clock())
    checkpoint = Checkpoint.parse(note.partition("\n\n")[0] + "\n")
    when = "" if checkpoint.signed_at is None else f", last checkpoint {_clock(checkpoint.signed_at)}"
    total = len(witnesses_of(follower.charter).keys)
    return Light("Log", True, f"Consistent, {len(seen.fresh)} of {total} witnesses ({seen.quorum} needed){when}.")


def _self_test(desk: Desk) -> Light:
    try:
        found = standing(desk.silo.voice.journal, desk.folder)
    except JournalDamaged as problem:
        return Light("Privacy self-test", False, str(problem))
    return Light("Privacy self-test", found.good, f"{found.words[:1].upper()}{found.words[1:]}.")


def _own(desk: Desk) -> tuple[tuple[str, str], ...]:
    return (
        ("Silo", desk.silo.name),
        ("Hub", desk.config.hub_url),
        ("Folder", str(desk.folder.absolute())),
        ("Policy", desk.silo.rules.gate.document.digest),
    )


def _read(follower: Follower, charter: Charter) -> tuple[tuple[str, str], ...]:
    view, digest = follower.view, charter_digest(charter)
    return (
        ("Consortium", f"{charter.consortium}, charter version {charter.version}, expires {charter.expires_at}"),
        ("Charter", digest),
        ("In words", charter_words(digest)),
        ("Log read", f"to leaf {follower.next} of {view.size}, root {view.root.hex()}"),
    )


def _witnesses(desk: Desk, charter: Charter) -> tuple[Witness, ...]:
    known = witnesses_of(charter)
    try:
        fresh = known.look(desk.silo.tasks.witnessing.quorate(), desk.silo.clock()).fresh
    except ProtocolError:  # none held yet
        fresh = ()
    return tuple(Witness(key.name, key.name in fresh) for key in known.keys)


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
