"""What may go wrong in a study, and that it goes on: crashes, silence, bad chunks, wrong states."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import routes
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.process import HubProcess


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "hub")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card)
    made.gather()
    return made


def test_a_hub_killed_in_the_middle_of_rounds_finishes_the_study_after_its_restart(
    hub: HubProcess, consortium: Consortium
) -> None:
    study = consortium.start(rounds=4)
    for silo in consortium.silos:
        _make_stubborn(silo)
    _make_stubborn(consortium.lead)
    with consortium.running(study):
        for closed in (1, 3):
            consortium.await_status(study, lambda status, closed=closed: status["rounds_closed"] >= closed)
            hub.kill()
            hub.start()
        status = consortium.finish(study)
    assert (status["state"], status["rounds_closed"], status["suspended"]) == ("completed", 6, [])
    for silo in consortium.silos:
        assert sorted(index for _, index in silo.totals) == list(range(6))


def _make_stubborn(party: object) -> None:
    """Retry on a broken line, as every real client does; all that is sent again is the same bytes."""
    import httpx

    send = party.http.send  # type: ignore[attr-defined]

    def resend(request: httpx.Request, **given: object) -> httpx.Response:
        for _ in range(600):
            try:
                return send(request, **given)
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("the hub didn't come back")

    party.http.send = resend  # type: ignore[attr-defined]


def test_a_silo_silent_in_training_is_left_out_and_the_study_finishes_with_the_quorum(consortium: Consortium) -> None:
    consortium.silo("dale").silent_in = {(1, "ready")}
    study = consortium.start(timeout_s=1)
    with consortium.running(study):
        status = consortium.finish(study)
    assert status["state"] == "completed"
    totals = consortium.silo("ada").totals
    expected = sum(consortium.silo(name).sent[study, 1] for name in ("ada", "bern", "cork"))
    assert (totals[study, 1] == expected).all()
    assert (study, 2) in consortium.silo("dale").sent


def test_a_silo_that_never_uploads_is_dropped_and_the_sum_is_added_again_without_it(consortium: Consortium) -> None:
    consortium.silo("bern").silent_in = {(1, "upload")}
    study = consortium.start(timeout_s=1)
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["suspended"]) == ("completed", [])
    expected = sum(consortium.silo(name).sent[study, 1] for name in ("ada", "cork", "dale"))
    assert (consortium.silo("ada").totals[study, 1] == expected).all()


def test_a_chunk_that_cannot_be_added_drops_its_silo_from_the_round_and_stands_in_the_log(
    consortium: Consortium,
) -> None:
    consortium.silo("cork").spoil_in = {1}
    study = consortium.start()
    cork = consortium.silo("cork")
    with consortium.running(study, [silo for silo in consortium.silos if silo is not cork]):
        _drive_despite_refusal(cork, study)
        status = consortium.finish(study)
    assert status["state"] == "completed"
    expected = sum(consortium.silo(name).sent[study, 1] for name in ("ada", "bern", "dale"))
    assert (consortium.silo("ada").totals[study, 1] == expected).all()
    export = consortium.officer.get(routes.LOG_EXPORT).text
    assert "consortia/chunk-refused/v1" in export


def _drive_despite_refusal(silo: object, study: str) -> None:
    """Work like `run`, but go on when the hub refuses the spoiled upload's completion."""
    from tests.unit.hub.rig.party import Refusal

    while study not in silo.closed:  # type: ignore[attr-defined]
        for _, _, signed in silo.poll(wait_s=5):  # type: ignore[attr-defined]
            try:
                silo.act(signed)  # type: ignore[attr-defined]
            except Refusal as refusal:
                assert refusal.status == 409, refusal


def test_a_silo_at_another_state_is_suspended_and_the_others_finish(consortium: Consortium) -> None:
    consortium.silo("dale").wrong_state_in = {1}
    study = consortium.start()
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["suspended"]) == ("completed", ["dale"])
    assert (study, 2) not in consortium.silo("dale").sent


@pytest.mark.parametrize("silent", ["sign", "reveal"])
def test_a_survivor_that_vanishes_after_the_sum_is_served_does_not_stop_the_study(
    consortium: Consortium, silent: str
) -> None:
    consortium.silo("dale").silent_in = {(1, silent)}
    # Long enough that on a busy machine nobody but dale is late, in any step.
    study = consortium.start(timeout_s=4)
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["suspended"]) == ("completed", ["dale"] if silent == "sign" else [])
    expected = sum(silo.sent[study, 1] for silo in consortium.silos)
    assert (consortium.silo("ada").totals[study, 1] == expected).all()


def test_a_silo_that_rejects_the_sum_is_suspended_and_a_quorum_opens_it(consortium: Consortium) -> None:
    consortium.silo("cork").reject_in = {1}
    study = consortium.start()
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["suspended"]) == ("completed", ["cork"])


@pytest.fixture
def late(consortium: Consortium) -> Consortium:
    """The consortium, whose silos may be late with a word on a round that is void by then."""
    for silo in consortium.silos:
        silo.late_for_void_rounds = True
    return consortium


def test_a_sum_that_too_few_silos_sign_is_never_opened_and_its_round_is_void(late: Consortium) -> None:
    consortium = late
    for name in ("bern", "cork"):
        consortium.silo(name).silent_in = {(1, "sign")}
    study = consortium.start(timeout_s=1)
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["suspended"]) == ("completed", [])
    kinds = _kinds_of_round(consortium, 1)
    assert ("round-voided" in kinds, "shares-revealed" in kinds) == (True, False)
    assert all((study, 1) not in silo.totals for silo in consortium.silos)


def test_a_sum_that_does_not_verify_makes_the_round_void_and_the_study_goes_on_under_another_key(
    late: Consortium, hub: HubProcess
) -> None:
    consortium, secrets = late, {}
    for name in ("bern", "cork"):
        consortium.silo(name).reject_in = {1}
    ada = consortium.silo("ada")
    ada.on_round_voided = lambda signed, body: secrets.update({body.round: ada.secrets[body.study]})
    study = consortium.start(rounds=2)
    with consortium.running(study):
        status = consortium.finish(study)
        consortium.await_status(study, lambda _: not _blobs(hub, study, 1))
        assert _blobs(hub, study, 2), "the sum of a round that counts stays for whoever was away"
    assert (status["state"], status["suspended"], status["rounds_closed"]) == ("completed", [], 4)
    assert (list(secrets), secrets[1] == ada.secrets[study]) == ([1], False)
    for index in (0, 2, 3):
        expected = sum(silo.sent[study, index] for silo in consortium.silos)
        assert all((silo.totals[study, index] == expected).all() for silo in consortium.silos)


def test_a_void_evaluation_ends_the_study(late: Consortium) -> None:
    consortium = late
    for name in ("bern", "cork"):
        consortium.silo(name).reject_in = {2}
    study = consortium.start(rounds=1)
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["reason"]) == ("aborted", "round 2: the sum didn't verify at 2 silos")


def _blobs(hub: HubProcess, study: str, index: int) -> list[Path]:
    """What the hub still holds of a round."""
    return [path for path in (hub.folder / "blobs").rglob(f"*/{study}/{index}/**/*") if path.is_file()]


def _kinds_of_round(consortium: Consortium, index: int) -> set[str]:
    leaves = [json.loads(line).get("leaf") for line in consortium.officer.get(routes.LOG_EXPORT).text.splitlines()]
    return {leaf["kind"] for leaf in leaves if leaf and (leaf["round"] or "").split(".")[0] == str(index)}


def test_a_study_whose_silos_stay_silent_ends_aborted_after_three_attempts(consortium: Consortium) -> None:
    for name in ("ada", "bern"):
        consortium.silo(name).silent_in = {(0, "ready")}
    study = consortium.start(timeout_s=1)
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["rounds_closed"]) == ("aborted", 0)
    assert "quorum" in status["reason"]


def test_a_silo_whose_policy_refuses_is_left_out_of_the_study(consortium: Consortium) -> None:
    consortium.silo("bern").silent_in = {(-1, "accept")}
    study = consortium.start()
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], list(status["refused"])) == ("completed", ["bern"])


def test_a_withdrawn_silo_takes_no_part_in_the_next_round(consortium: Consortium) -> None:
    study = consortium.start(rounds=3, timeout_s=2)
    dale = consortium.silo("dale")
    act = dale.on_round_opened

    def leave(signed: object, body: object) -> None:
        if body.round == 1:  # type: ignore[attr-defined]
            dale.say("study-withdrawn", study=study, reason="The owner wants out.")
        else:
            act(signed, body)  # type: ignore[arg-type]

    dale.on_round_opened = leave  # type: ignore[method-assign, assignment]
    with consortium.running(study):
        status = consortium.finish(study)
    assert status["state"] == "completed"
    assert {index for _, index in dale.sent} == {0}


def test_a_round_that_a_mirrored_budget_cannot_pay_is_not_opened(hub: HubProcess) -> None:
    poor = Consortium(hub.url, hub.card)
    poor.gather(epsilon=1.5558)  # pays for all rounds but the last
    study = poor.start(rounds=4)
    with poor.running(study):
        status = poor.finish(study)
    assert (status["state"], status["rounds_closed"]) == ("aborted", 5)
    assert "budget" in status["reason"]
    for budget in poor.officer.get(routes.BUDGETS).json():
        assert budget["reserved"] + budget["settled"] <= budget["cap"]
