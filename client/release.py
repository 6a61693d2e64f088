"""Getting a released result: asked for, waited for, opened, and taken only if enough silos confirmed these bytes."""

import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from client.bundle import Bundle, read_bundle
from client.connection import Connection
from client.errors import BundleRefused, HubUntrusted, StudyNotCompleted, UsageRefused
from client.model import to_onnx
from client.score_report import charts, figures, lines, scores_of
from client.statistics.answers import answers
from client.statistics.bundle import StatisticsBundle, read_statistics
from client.statistics.files import CONFIRMED, answer_files, answer_lines
from pages.contract import in_words
from protocol import canonical, routes
from protocol.errors import ProtocolError, RuleBroken
from protocol.membership_statements import DatasetRegistered
from protocol.release import SALT_BYTES, release_commitment, release_context
from protocol.round_statements import SpendReserved, SpendSettled
from protocol.sealing.envelope import open_envelope
from protocol.spending import Spending
from protocol.statistics_study import StatisticsContract
from protocol.study_statements import (
    ReleaseApproved,
    ReleaseRequested,
    ReleaseSealed,
    StudyApproved,
    StudyClosed,
)
from protocol.training_study import TrainingContract

POLL_WAIT_S: Final = 10

AnyBundle = Bundle | StatisticsBundle


@dataclass(frozen=True, slots=True)
class Released:
    """A result with the proof that it is the silos': who confirmed it, and which leaf delivered it."""

    bundle: AnyBundle
    data: bytes
    confirmed_by: tuple[str, ...]
    delivered_at: int


def release(connection: Connection, study: str, deadline: float, waiting: Callable[[str], None]) -> Released:
    """Ask for the release if nobody has, wait until it is sealed for this person, open and check it.

    ``deadline`` is on the session's clock, in seconds. Raises ``StudyNotCompleted`` past it or for a study that
    ended otherwise, ``BundleRefused`` for bytes that too few silos confirmed.
    """
    log, me = connection.log, connection.identity.person
    contract = log.contract(study)
    if me not in contract.recipients:
        raise UsageRefused(f"{me} is not a recipient of study {study[:12]}; they are {', '.join(contract.recipients)}")
    _require_completed(connection, study)
    asked = any(body.study == study for _, body in log.statements(ReleaseRequested))
    if not asked and me == contract.lead:
        connection.publish(ReleaseRequested(type="release-requested", study=study, **connection.heading()))
    while (sealed := _sealed_for(connection, study)) is None:
        if connection.session.clock() >= deadline:
            given = len(_confirmations(connection, study))
            needed = contract.release.approvals
            raise StudyNotCompleted(f"not released yet: {given} of {needed} silos approved; ask them, then try again")
        waiting(f"{len(_confirmations(connection, study))} of {contract.release.approvals} silos approved")
        log.refresh(POLL_WAIT_S)
    return _open(connection, study, *sealed)


def _require_completed(connection: Connection, study: str) -> None:
    for _, body in connection.log.statements(StudyClosed):
        if body.study == study and body.outcome == "completed":
            return
        if body.study == study:
            raise StudyNotCompleted(f"study {study[:12]} was {body.outcome}: {body.reason}")
    raise StudyNotCompleted(f"study {study[:12]} is not completed; see: consortia study watch {study[:12]}")


def _sealed_for(connection: Connection, study: str) -> tuple[int, ReleaseSealed] | None:
    for record, body in connection.log.statements(ReleaseSealed):
        if body.study == study and body.recipient == connection.identity.person:
            return record.index, body
    return None


def _confirmations(connection: Connection, study: str) -> dict[str, str]:
    """Each approving silo's commitment, its first word counting; only silos of the contract."""
    named = connection.log.contract(study).silo_names
    found: dict[str, str] = {}
    for _, body in connection.log.statements(ReleaseApproved):
        silo = body.issuer.removeprefix("silo:")
        if body.study == study and silo in named:
            found.setdefault(silo, body.commitment)
    return found


def _open(connection: Connection, study: str, index: int, sealed: ReleaseSealed) -> Released:
    path = routes.BLOB.format(study=study, digest=sealed.blob)
    blob = connection.session.get_bytes(path, sealed.size)
    if len(blob) != sealed.size or canonical.digest(blob) != sealed.blob:
        raise BundleRefused("the hub's blob is not the one that the silo sealed; try again, then call the admin")
    sender = sealed.issuer.removeprefix("silo:")
    context = release_context(study, sender, connection.identity.person)
    try:
        content = open_envelope(blob, connection.identity.receiving.private, context)
    except ProtocolError as error:
        raise BundleRefused(f"the release does not open: {error}") from None
    salt, data = content[:SALT_BYTES], content[SALT_BYTES:]
    confirmed = _confirmed_by(connection, study, salt, data)
    match connection.log.contract(study):
        case TrainingContract():
            bundle: AnyBundle = read_bundle(data, study)
        case StatisticsContract():
            bundle = read_statistics(data, study)
    return Released(bundle, data, confirmed, index)


def _confirmed_by(connection: Connection, study: str, salt: bytes, data: bytes) -> tuple[str, ...]:
    if len(salt) != SALT_BYTES:
        raise BundleRefused("the release is too short to hold a salt")
    commitment = release_commitment(salt, data)
    confirmations = _confirmations(connection, study)
    silos = tuple(silo for silo, one in confirmations.items() if hmac.compare_digest(one, commitment))
    needed = connection.log.contract(study).release.approvals
    if len(silos) < needed:
        raise BundleRefused(f"only {len(silos)} silos confirmed these bytes, {needed} are needed; call the admin")
    return silos


def write_release(connection: Connection, released: Released, folder: Path) -> tuple[Path, ...]:
    """Write the confirmed bytes and what is made of them; their paths.

    A model: model.safetensors (as confirmed), model.onnx, metrics.json and model-card.md; where the study made a
    histogram of scores, metrics.json has its figures, and two curves lie beside it as SVG. Statistics: totals.json (as
    confirmed), answers.json, answers.csv and report.md.
    """
    folder.mkdir(parents=True, exist_ok=True)
    match released.bundle:
        case Bundle():
            contents = _model_files(connection, released, released.bundle)
        case StatisticsBundle():
            answered = answers(released.bundle)
            contents = answer_files(released.data, released.bundle, answered)
            text = _card(connection, released, answer_lines(answered), CONFIRMED)
            contents["report.md"] = text.encode()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return tuple(folder / name for name in contents)


def _model_files(connection: Connection, released: Released, bundle: Bundle) -> dict[str, bytes]:
    told = scores_of(bundle)
    measured: dict[str, Any] = bundle.evaluation.model_dump(mode="json", exclude_defaults=True)
    metrics = json.dumps(measured | ({"scores": figures(*told)} if told else {}), indent=2) + "\n"
    return {
        "model.safetensors": released.data,
        "model.onnx": to_onnx(bundle),
        "metrics.json": metrics.encode(),
        "model-card.md": model_card(connection, released, bundle).encode(),
        **({name: chart.encode() for name, chart in charts(told[0]).items()} if told else {}),
    }


def charged(connection: Connection, study: str) -> tuple[tuple[str, float, float, str], ...]:
    """By silo, what the logged mechanisms of a study amount to: (silo, epsilon, delta, unit)."""
    spending, contract = Spending(), connection.log.contract(study)
    try:
        for record in connection.log.records:
            match record.signed.body if record.signed else None:
                case DatasetRegistered() as body:
                    spending.register(body)
                case SpendReserved() as body if body.study == study:
                    spending.reserve(body, contract)
                case SpendSettled() as body if body.study == study:
                    spending.settle(body)
    except RuleBroken as broken:
        raise HubUntrusted(f"the log's charges for study {study[:12]} don't hold: {broken}") from None
    privacy = contract.privacy
    spent = ((silo, spending.study_epsilon(silo, study, contract)) for silo in contract.silo_names)
    return tuple((silo, epsilon, privacy.delta, privacy.unit) for silo, epsilon in spent)


def model_card(connection: Connection, released: Released, bundle: Bundle) -> str:
    """What the record says of the model, in Markdown."""
    measured = bundle.evaluation
    quality = [
        "## How good it is",
        "",
        f"- **Accuracy**: {measured.in_words()}, on held-out rows, from noised counts",
        f"- **Counts**: {measured.right:.1f} right, {measured.wrong:.1f} wrong (noised, so not whole numbers)",
        *_more(bundle),
        "",
    ]
    return _card(connection, released, quality, "model.safetensors")


def _card(connection: Connection, released: Released, result: list[str], confirmed: str) -> str:
    """The contract in words, the ``result``, what it cost, and what proves that ``confirmed`` is the silos' word."""
    bundle, log = released.bundle, connection.log
    approvals = [(r.index, b.issuer) for r, b in log.statements(StudyApproved) if b.study == bundle.study]
    costs = charged(connection, bundle.study)
    lines = [f"# {bundle.contract.title}", "", "Made from the verified log and the bundle that silos confirmed.", ""]
    for section in in_words(bundle.contract, bundle.study):
        lines += [f"## {section.title}", "", *(f"- **{label}**: {text}" for label, text in section.lines), ""]
    lines += [
        *result,
        "## What it cost",
        "",
        *(f"- {silo}: epsilon {spent:.3f} at delta {delta:g}, per {unit}" for silo, spent, delta, unit in costs),
        "",
        "## Proof",
        "",
        *(f"- approved by {who}, signature verified, leaf {index}" for index, who in approvals),
        f"- confirmed by {', '.join(released.confirmed_by)}; delivered by leaf {released.delivered_at}",
        f"- {confirmed} has SHA-256 `{canonical.digest(released.data)}`",
        f"- log {log.charter.log_origin}, {log.size} leaves; founding charter `{log.chain.founding}`",
        "",
    ]
    return "\n".join(lines)


def _more(bundle: Bundle) -> Iterator[str]:
    """What a histogram of scores tells beside the accuracy; of two counts, that there is none."""
    told = scores_of(bundle)
    if told is None:
        yield "- **Not measured**: AUC, calibration, performance by group. The study counted right and wrong alone."
    else:
        yield from lines(*told)
        yield ""
        yield "![ROC](roc.svg) ![Calibration](calibration.svg)"
