"""When this silo takes no further part for a while: its updates came to nothing twice, and a person has to look.

Else a hub that voids one round after the other would drain every ledger. A paused silo shares keys and follows totals,
so that it can go on; it charges and seals nothing.
"""

from typing import Final

from protocol.study_statements import StudyPaused, StudyResumed
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.voice import Opening, Saying

MOST_VOID: Final = 2
"""Void rounds that this silo's updates went into, after which it pauses."""


def pause_or_resume(silo: Silo, study: Study) -> bool:
    """Says that this silo pauses, or that its owner lets it go on; true if it said so."""
    record = study.record
    if record.closed is not None or silo.name in record.gone or silo.name not in record.keyed:
        return False
    number = record.pauses[silo.name]
    if silo.name in record.paused:
        if not silo.tasks.resumed(study.id, number):
            return False
        silo.voice.say(_resumed(study, number))
        return True
    if record.void_rounds[silo.name] < MOST_VOID:
        return False
    reason = f"{record.void_rounds[silo.name]} rounds with updates of this silo came to nothing"
    silo.voice.say(_paused(study, number + 1, reason))
    return True


def _paused(study: Study, number: int, reason: str) -> Saying:
    def build(opening: Opening) -> StudyPaused:
        return StudyPaused(type="study-paused", study=study.id, reason=reason, **opening)

    return Saying(f"{study.id}:paused:{number}", build)


def _resumed(study: Study, number: int) -> Saying:
    def build(opening: Opening) -> StudyResumed:
        return StudyResumed(type="study-resumed", study=study.id, **opening)

    return Saying(f"{study.id}:resumed:{number}", build)
