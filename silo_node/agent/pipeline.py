"""One study at one silo, step by step. Read ``run_round`` first.

Each step looks at what the log says (``StudyRecord``) and at what this silo has done (``Tasks``, ``StudyFiles``),
does the one thing that is next, and is safe to repeat after a crash at any line: what was charged, computed, said or
sealed is found again and not made anew.
"""

import contextlib
import io
from typing import BinaryIO, Final, Literal

import structlog

from protocol.round_record import RoundRecord
from protocol.rounds import charge_id, round_events
from protocol.sealing.errors import MasksUnrecoverable, SumRejected
from protocol.sealing.masks import MaskStream
from protocol.sealing.secret import StudySecret
from silo_node.agent import sayings, unmasking
from silo_node.agent.decisions import may_compute
from silo_node.agent.keying import agreed_secret
from silo_node.agent.memory import check_newest_head
from silo_node.agent.opt_out_record import check_opt_outs
from silo_node.agent.progress import apply_total, blocks_of, segments_of, state_in
from silo_node.agent.renewing import check_still_accepted
from silo_node.agent.self_testing import require_no_failure
from silo_node.agent.silo import Silo, use_of
from silo_node.agent.study import Study
from silo_node.agent.uploading import send_term
from silo_node.errors import HubRefused, StudyHalted
from silo_node.ledger.budget import Refused
from silo_node.runner.tasks import Outcome, RoundTask, round_of, task_of_round
from silo_node.sealing import keys
from silo_node.sealing.sealer import OpenedTotal, seal_update

log = structlog.get_logger()

MUCH_CLIPPED: Final = 0.01
_FIRST_TRAINING_ROUND: Final = 1
"""A larger share of clipped values is worth a line in the journal: the round's scales don't fit its numbers."""


def run_round(silo: Silo, study: Study) -> bool:
    """Does what is next in the present round; true if anything was done.

    gate -> ledger charge -> training -> masks -> ready | sealing -> upload | tags -> signature | shares | state
    """
    record = study.record
    current = record.current
    if current is None:
        return False
    follow_totals(silo, study)
    secret = agreed_secret(silo, study, current.keying)
    if secret is None or current.voided is not None:
        return False
    if current.served is not None:
        return unmask(silo, study, secret, current) or _say_verified(silo, study, secret, current)
    if current.frozen is not None:
        return silo.name in current.frozen.ready and upload(silo, study, secret, current)
    if record.closed is None and silo.name in current.opened.silos:
        return prepare(silo, study, current)
    return False


def forget_closed(silo: Silo, study: Study) -> None:
    """Removes what rounds that are over left behind: updates, terms, masks, states and secrets that serve no more."""
    record = study.record
    through = min(record.complete_through, silo.files.newest_state(study.id))
    if through >= 0:
        silo.files.forget_rounds(study.id, through)
    if record.closed_through >= 0:
        silo.files.forget_secrets(study.id, record.rounds[record.closed_through].keying.epoch)


def prepare(silo: Silo, study: Study, current: RoundRecord) -> bool:
    """The silo's update for this round, charged before a row is read, and its word that it is ready."""
    record = study.record
    if silo.name in current.ready or silo.name in record.gone | record.paused:
        return False
    if not record.stands or record.needs_key:
        return False  # it will not be frozen with this silo, or must not
    check_agreement(silo, study, current.index - 1)
    unmasking.check_peers(silo, current.index, current.opened.silos)
    forget_closed(silo, study)
    if silo.files.update(study.id, current.index) is None:
        require_no_failure(silo.voice.journal)
        if not may_compute(silo, study, current):
            return False  # a person decides
        compute_update(silo, study, current)
    ran = silo.files.ran(study.id, current.index)
    settled = silo.ledger.settle(charge_id(study.id, current.index), ran)
    if isinstance(settled, Refused):
        raise StudyHalted(str(settled))
    dealt = unmasking.deal_masks(silo, study, current)
    silo.voice.send_shares(study.id, current.index, current.attempt, dealt.bundle)
    settlement = sayings.settled(silo, study, current.index, settled.domain, ran)
    silo.voice.say(settlement, sayings.ready(study, current, dealt))
    return True


def compute_update(silo: Silo, study: Study, current: RoundRecord) -> None:
    """Charges, announces the charge, and only then lets the runner read rows.

    A run that crashed left nothing outside this node, so it is repeated under the charge it already has.
    """
    contract, index = study.record.contract, current.index
    dataset = silo.catalogue.get(contract.data.dataset)
    check_still_accepted(silo, study, dataset)
    check_opt_outs(silo, dataset.domain)
    check_newest_head(silo)
    events, use = round_events(contract, silo.name, index), use_of(contract, study.id)
    admitted = silo.ledger.reserve(dataset.domain, charge_id(study.id, index), events, use)
    if isinstance(admitted, Refused):
        raise StudyHalted(str(admitted))
    silo.voice.say(sayings.reserved(silo, study, index, dataset.domain))
    with progress_before(silo, study, index) as before:
        task = task_of_round(contract, silo.name, index, state_in(before))
        silo.files.keep_update(study.id, index, lambda file: _run(silo, study, task, file).events_run)


def _run(silo: Silo, study: Study, task: RoundTask, file: BinaryIO) -> Outcome:
    outcome = silo.runner.run(task, file)
    if outcome.engine and round_of(task) == _FIRST_TRAINING_ROUND:
        log.info(outcome.engine, study=study.id[:12])
    if outcome.left_out:
        what = f"round {round_of(task)}: {outcome.left_out} rows of people who opted out were left out"
        silo.voice.note("decision", what, study.id)
    return outcome


def upload(silo: Silo, study: Study, secret: StudySecret, current: RoundRecord) -> bool:
    """Seals the update once under this round's freeze, and sends of the kept bytes what the hub lacks."""
    if silo.name in current.uploads:
        return False
    record, index = study.record, current.index
    update = silo.files.update(study.id, index)
    if update is None:
        raise StudyHalted(f"the update of round {index} that this silo announced is not here any more")
    freeze, layout = record.freeze(current), record.layout(current)
    masks = unmasking.masks_for_term(silo, study, current, freeze)
    with progress_before(silo, study, index) as before:
        segments = segments_of(record.contract, before, index)
    with update.open("rb") as values:
        files = silo.files.seal_once(
            study.id, index, freeze, lambda: seal_update(values, segments, secret, freeze, silo.name, layout, masks)
        )
    digests = silo.files.sealed_digests(study.id, index, freeze)
    send_term(silo, study, current, files, digests, sayings.uploaded(study, current, freeze, digests))
    return True


def follow_totals(silo: Silo, study: Study) -> None:
    """Brings this silo to the state after the newest round that is over or can be opened, one after the other."""
    rounds = study.record.rounds
    newest = rounds.get(silo.files.newest_state(study.id))
    if newest is not None and newest.voided is not None:
        silo.files.keep_same_state(study.id, newest.index)  # its total may have been applied before it was void
    while (past := rounds.get(silo.files.newest_state(study.id) + 1)) is not None:
        if past.voided is not None:
            silo.files.keep_same_state(study.id, past.index)
        elif not open_sum(silo, study, past):
            return


def unmask(silo: Silo, study: Study, secret: StudySecret, current: RoundRecord) -> bool:
    """This silo's part in taking the masks off a served sum; true if it said anything."""
    if current.closed is not None or silo.tasks.sum_distrusted(study.id, current.index):
        return False
    try:
        signed = unmasking.sign_survivors(silo, study, secret, current)
    except SumRejected as rejected:
        distrust(silo, study, current, rejected)
        return True
    return signed or unmasking.reveal_shares(silo, study, secret, current)


def open_sum(silo: Silo, study: Study, past: RoundRecord) -> bool:
    """Applies a served total; false where it can't be opened, or not yet. Never decrypts what fails.

    Raises ``StudyHalted`` where a quorum went on with a sum that doesn't verify here.
    """
    secret = agreed_secret(silo, study, past.keying)
    if secret is None or len(past.revealed) < study.record.contract.schedule.quorum:
        return False
    if silo.tasks.sum_distrusted(study.id, past.index):
        if past.closed is not None:
            raise StudyHalted(f"the others went on from round {past.index} with a sum that doesn't verify here")
        return False
    try:
        masks = unmasking.masks_of_total(silo, study, secret, past)
        apply_sum(silo, study, secret, past, masks)
    except MasksUnrecoverable as problem:
        if not unmasking.more_shares_may_come(silo, past):
            distrust(silo, study, past, problem)
        return False
    except SumRejected as rejected:
        distrust(silo, study, past, rejected)
        return False
    return True


def distrust(silo: Silo, study: Study, past: RoundRecord, problem: SumRejected | MasksUnrecoverable) -> None:
    """Says once that a sum doesn't verify here, and never looks at it again. The study may go on without it."""
    if silo.name in past.total_served.survivors:
        cause: Literal["sum", "masks"] = "masks" if isinstance(problem, MasksUnrecoverable) else "sum"
        blamed = problem.blamed if isinstance(problem, MasksUnrecoverable) else ()
        # The hub takes this word while the round is open only; it changes nothing for this silo.
        with contextlib.suppress(HubRefused):
            silo.voice.say(sayings.failed(study, past, cause, blamed))
    log.error("sum-distrusted", study=study.id[:12], round=past.index, problem=str(problem))
    silo.voice.note("warning", f"round {past.index}: {problem}", study.id)
    silo.tasks.distrust_sum(study.id, past.index)


def apply_sum(silo: Silo, study: Study, secret: StudySecret, past: RoundRecord, masks: MaskStream) -> None:
    """Fetches a served sum, checks every tag, opens it, applies the total. Raises ``SumRejected``.

    The next state is written while the sum is opened, and is kept only if that ended well.
    """
    record, index = study.record, past.index
    served, layout, freeze = past.total_served, record.layout(past), record.freeze(past)
    files = silo.fetch_sum(study.id, past, layout)

    def write(after: BinaryIO) -> None:
        with progress_before(silo, study, index) as before:
            opened = OpenedTotal(
                lambda: (file.read_bytes() for file in files),
                segments_of(record.contract, before, index),
                secret,
                freeze,
                served.survivors,
                layout,
                masks,
            )
            apply_total(record.contract, study.id, index, before, opened, served.survivors, after)
        _tell_clipped(silo, study, index, min(1.0, opened.clipped / (opened.values * len(served.survivors))))

    silo.files.keep_state(study.id, index, write)


def _tell_clipped(silo: Silo, study: Study, index: int, share: float) -> None:
    log.info("clipped", study=study.id, round=index, share=share)
    if share > MUCH_CLIPPED:
        silo.voice.note("warning", f"round {index}: {share:.1%} of all silos' values were clipped", study.id)


def check_agreement(silo: Silo, study: Study, index: int) -> None:
    """Raises ``StudyHalted`` unless a quorum logged the very state that this silo has after round ``index``.

    After void rounds it is the state of the last round that counts.
    """
    record, counted = study.record, study.record.closed_through
    if counted < 0:
        return
    secret = agreed_secret(silo, study, record.rounds[counted].keying)
    if secret is None:
        raise StudyHalted(f"this silo has no state of round {index}")
    with progress_before(silo, study, index + 1) as state:
        mine = keys.state_mac(secret, study.id, counted, blocks_of(state))
    agreeing = [name for name, mac in record.rounds[counted].macs.items() if mac == mine]
    if len(agreeing) < record.contract.schedule.quorum:
        raise StudyHalted(f"fewer than a quorum of silos reached this silo's state of round {counted}")


def progress_before(silo: Silo, study: Study, index: int) -> BinaryIO:
    """The file of where the study stands before round ``index``; the caller closes it.

    Every silo has the same bytes. Before round 0 it is empty: that round begins with the contract alone.
    """
    if index == 0:
        return io.BytesIO()
    file = silo.files.open_state(study.id, index - 1)
    if file is None:
        raise StudyHalted(f"this silo has no state of round {index - 1}")
    return file


def _say_verified(silo: Silo, study: Study, secret: StudySecret, current: RoundRecord) -> bool:
    served = current.served
    if served is None or silo.name not in served.survivors or silo.name in current.macs:
        return False
    if silo.files.newest_state(study.id) < current.index:
        return False  # The masks are still on.
    with progress_before(silo, study, current.index + 1) as state:
        mac = keys.state_mac(secret, study.id, current.index, blocks_of(state))
    silo.voice.say(sayings.verified(study, current, mac))
    return True
