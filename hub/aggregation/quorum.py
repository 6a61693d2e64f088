"""Which chunks can be added, and over whom. Pure."""

from collections.abc import Mapping, Sequence

from hub.aggregation.aggregator import SumJob
from hub.domain.round import Round
from hub.store.blobs import BlobPlace
from protocol import canonical
from protocol.rounds import round_layout
from protocol.study import StudyContract


def survivors_digest(silos: Sequence[str]) -> str:
    """Names a set of survivors, given in order."""
    return canonical.digest(canonical.encode(list(silos)))


def expected(round: Round, withdrawn: Sequence[str]) -> tuple[str, ...]:
    """The silos whose terms the sum will be made of if nobody else fails, in order."""
    gone = {*round.dropped, *(silo for silo in withdrawn if silo not in round.complete)}
    return tuple(silo for silo in round.frozen if silo not in gone)


def addable(
    contract: StudyContract,
    round: Round,
    silos: tuple[str, ...],
    arrivals: Mapping[int, Sequence[str]],
    added: Mapping[int, str],
    blobs: BlobPlace,
) -> list[SumJob]:
    """A job for each chunk that all of `silos` delivered and that isn't added yet."""
    layout = round_layout(contract, round.index, len(round.frozen))
    name = survivors_digest(silos)
    jobs = []
    for position in range(layout.chunks):
        arrived = tuple(silo for silo in arrivals.get(position, ()) if silo in silos)
        if position not in added and len(arrived) == len(silos):
            place = (blobs, round.study, round.index, round.attempt, name, position)
            jobs.append(SumJob(*place, silos=silos, arrived=arrived, layout=layout))
    return jobs
