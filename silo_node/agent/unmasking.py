"""A round between its served sum and its total: check the tags, sign the survivors, reveal shares, find the masks.

Nothing is revealed for a sum that a quorum of its own silos hasn't checked and signed, and a silo signs once a round.
"""

from protocol.ids import moment
from protocol.round_record import RoundRecord
from protocol.round_statements import SurvivorsSigned
from protocol.sealing.errors import SealingError
from protocol.sealing.masks import MaskStream, own_masks
from protocol.sealing.secret import StudySecret
from protocol.sealing.sharing import Bundle, SharePair
from protocol.sealing.term import verify_sum
from silo_node.agent import sayings
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.errors import StudyHalted
from silo_node.policy.limits import independent
from silo_node.sealing import masking
from silo_node.sealing.masking import Dealt

MIN_PEERS = 2
"""With fewer independent silos beside it in a sum, a silo's term would be the total less what the others know."""


def check_peers(silo: Silo, index: int, silos: tuple[str, ...]) -> None:
    """Raises ``StudyHalted`` unless at least two silos that the owner knows as independent are among ``silos``."""
    known = independent(silo.rules.limits, silo.name, silos)
    if len(known) < MIN_PEERS:
        raise StudyHalted(
            f"round {index}: {len(known)} of its silos are peers that the owner's limits know as independent, "
            f"{MIN_PEERS} are needed"
        )


def deal_masks(silo: Silo, study: Study, current: RoundRecord) -> Dealt:
    """This silo's masks for the attempt, made once and kept before anything of them leaves."""
    holders = masking.receiving_keys(study.charter, current.keying.silos)
    quorum = study.record.contract.schedule.quorum

    def make() -> bytes:
        return masking.deal_masks(study.id, current.index, current.attempt, silo.name, holders, quorum).to_bytes()

    return Dealt.from_bytes(silo.files.deal_once(study.id, current.index, current.attempt, make))


def masks_for_term(silo: Silo, study: Study, current: RoundRecord, freeze: bytes) -> MaskStream:
    """What is added to this silo's levels. Raises ``StudyHalted`` where the update must not be sealed any more."""
    if silo.tasks.kept(sayings.signed_name(study.id, current.index)) is not None:
        raise StudyHalted(f"the update of round {current.index} was signed into a sum; it is never sealed again")
    dealt = _dealt(silo, study, current)
    return own_masks(dealt.secrets, freeze, silo.name, masking.offers_of(current))


def sign_survivors(silo: Silo, study: Study, secret: StudySecret, current: RoundRecord) -> bool:
    """Signs U3 once every tag of its sum holds. Raises ``SumRejected``, and ``StudyHalted`` if it signed another."""
    served = current.total_served
    if silo.name not in served.survivors or silo.name in current.signed:
        return False
    kept = silo.tasks.kept(sayings.signed_name(study.id, current.index))
    if kept is not None and isinstance(kept.body, SurvivorsSigned) and kept.body.sum != current.served_digest:
        raise StudyHalted(f"round {current.index}: the hub shows another sum than the one that this silo signed")
    check_peers(silo, current.index, served.survivors)
    layout = study.record.layout(current)
    files = silo.fetch_sum(study.id, current, layout)
    verify_sum(secret, study.record.freeze(current), served.survivors, (file.read_bytes() for file in files), layout)
    silo.voice.say(sayings.signed(study, current))
    return True


def reveal_shares(silo: Silo, study: Study, secret: StudySecret, current: RoundRecord) -> bool:
    """Gives the holders this silo's shares, after a quorum signed the very sum that it signed itself."""
    enough = len(current.signed) >= study.record.contract.schedule.quorum
    if not enough or silo.name not in current.signed or silo.name in current.revealed:
        return False
    pairs = {name: _pair(silo, study, current, name) for name in current.frozen_ready}
    shares = masking.choose_shares(current, pairs)
    sealed = masking.seal_shares(secret, study.id, current, silo.name, shares)
    silo.voice.say(sayings.revealed(study, current, sealed))
    return True


def masks_of_total(silo: Silo, study: Study, secret: StudySecret, past: RoundRecord) -> MaskStream:
    """The masks that the served total carries. Raises ``MasksUnrecoverable`` when the shares don't give them."""
    bundles = {name: _bundle(silo, study, past, name) for name in past.frozen_ready}
    quorum = study.record.contract.schedule.quorum
    return masking.masks_left(secret, study.id, past, study.record.freeze(past), bundles, quorum)


def more_shares_may_come(silo: Silo, past: RoundRecord) -> bool:
    """Whether shares of silos that have not revealed any may still mend a sum whose masks can't be recovered yet.

    It waits half of the step's time for them: then there is time left for its word that the sum failed to be heard.
    """
    served = past.total_served
    if past.over or len(past.revealed) == len(served.survivors):
        return False
    begun, due = moment(served.issued_at), moment(served.due_at)
    return silo.clock() < begun + (due - begun) / 2


def _dealt(silo: Silo, study: Study, one: RoundRecord) -> Dealt:
    data = silo.files.masks(study.id, one.index, one.attempt)
    if data is None:
        raise StudyHalted(f"the masks of round {one.index} that this silo announced are not here any more")
    return Dealt.from_bytes(data)


def _pair(silo: Silo, study: Study, one: RoundRecord, dealer: str) -> SharePair | None:
    """This silo's shares of a dealer's seeds; None, with a note for the owner, if they don't match its commitments."""
    if dealer == silo.name:
        return _dealt(silo, study, one).own
    info = masking.share_context(study.id, one.index, one.attempt, dealer, silo.name)
    problem: SealingError | None = None
    for keys in silo.identity.receiving_keys:
        try:
            return _bundle(silo, study, one, dealer).open(silo.name, keys.private, info)
        except SealingError as found:
            problem = problem or found
    silo.voice.note("warning", f"round {one.index}: shares from {dealer}: {problem}", study.id)
    return None


def _bundle(silo: Silo, study: Study, one: RoundRecord, dealer: str) -> Bundle:
    holders = tuple(sorted(one.keying.silos))
    return Bundle.parse(silo.fetch_bundle(study.id, one, dealer, len(holders)), dealer, holders)
