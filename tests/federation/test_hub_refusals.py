"""What the hub refuses, over real HTTP: each clearly, and nothing is stored."""

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from protocol import canonical, routes
from protocol.rounds import round_events, round_layout
from protocol.sealing.sharing import bundle_bytes
from protocol.signing import Signed, sign
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.contract import contract, contract_value
from tests.unit.hub.rig.party import Party, Refusal
from tests.unit.hub.rig.process import HubProcess
from tests.unit.hub.rig.silo import FakeSilo


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("refusals") / "hub")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card)
    made.gather()
    return made


def log_size(consortium: Consortium) -> int:
    note = httpx.get(consortium.url + routes.LOG_CHECKPOINT).json()["checkpoint"]
    return int(note.split("\n")[1])


def newcomer(consortium: Consortium) -> FakeSilo:
    return FakeSilo("new-" + secrets.token_hex(4), consortium.url, consortium.card)


def test_a_second_founding_charter_is_refused(consortium: Consortium) -> None:
    usurper = Consortium(consortium.url, consortium.card)
    with pytest.raises(Refusal, match="pinned") as refused:
        usurper.found()
    assert refused.value.status == 409


def test_a_founding_charter_for_another_hub_is_refused(tmp_path: Any) -> None:
    process = HubProcess(tmp_path / "hub")
    process.start()
    try:
        other = Consortium(process.url, {**process.card, "hub_key": "ab" * 32})
        with pytest.raises(Refusal, match="card"):
            other.found()
    finally:
        process.stop()


def test_an_invitation_is_used_once(consortium: Consortium) -> None:
    first = newcomer(consortium)
    code = consortium.invite(first.name)
    request = consortium.enrolment(first, code)
    assert first.http.post(routes.ENROLMENTS, json=request).status_code == 200
    size = log_size(consortium)
    assert first.http.post(routes.ENROLMENTS, json=request).status_code == 200  # its answer was lost: the same again
    second = FakeSilo(first.name, consortium.url, consortium.card)
    assert consortium.enrol(second, code).status_code == 409
    assert log_size(consortium) == size


def test_an_invitation_serves_only_the_silo_it_names(consortium: Consortium) -> None:
    code, other = consortium.invite(newcomer(consortium).name), newcomer(consortium)
    size = log_size(consortium)
    answer = consortium.enrol(other, code)
    assert (answer.status_code, answer.json()["type"]) == (403, "consortia:forbidden")
    assert log_size(consortium) == size


def test_a_late_invitation_is_refused(consortium: Consortium) -> None:
    silo = newcomer(consortium)
    code = consortium.invite(silo.name, minutes=1 / 30)
    time.sleep(2.5)
    answer = consortium.enrol(silo, code)
    assert (answer.status_code, answer.json()["type"]) == (410, "consortia:expired")


def test_an_invitation_of_more_than_a_day_is_refused(consortium: Consortium) -> None:
    with pytest.raises(Refusal, match="24 hours"):
        consortium.invite(newcomer(consortium).name, minutes=60 * 25)


def test_an_enrolment_with_another_charter_or_key_is_refused(consortium: Consortium) -> None:
    silo = newcomer(consortium)
    code = consortium.invite(silo.name)
    assert consortium.enrol(silo, code, charter="ab" * 32).status_code == 409
    assert consortium.enrol(silo, code, signing_key=consortium.silos[0].public).status_code == 403
    assert consortium.enrol(silo, code, receiving_key="AAAA").status_code == 400
    assert consortium.enrol(silo, code).status_code == 200


def test_a_members_name_is_enrolled_by_nobody_without_an_invitation_for_it(consortium: Consortium) -> None:
    stranger, own = FakeSilo("ada", consortium.url, consortium.card), newcomer(consortium)
    code = consortium.invite(own.name)
    size = log_size(consortium)
    for shown in ("AAAA-BBBB-CCCC-DDDD-EEEE", code):
        answer = consortium.enrol(stranger, shown)
        assert (answer.status_code, answer.json()["type"]) == (403, "consortia:forbidden")
    assert log_size(consortium) == size
    assert consortium.silo("ada").get(routes.SILOS).status_code == 200


def test_a_silo_invited_under_its_own_name_does_not_enrol_under_anothers(consortium: Consortium) -> None:
    """Its code is good, and so is its signature; the name in the statement, or its issuer, is ada's."""
    own = newcomer(consortium)
    code = consortium.invite(own.name)
    size = log_size(consortium)
    for changes in ({"silo": "ada"}, {"issuer": "silo:ada"}, {"silo": "ada", "issuer": "silo:ada"}):
        keys = {"signing_key": own.public, "receiving_key": own.receiving, "charter": consortium.founding}
        asked = sign(own.body("enrolment", **{"silo": own.name, **keys, **changes}), own.key)
        answer = own.http.post(routes.ENROLMENTS, json={"code": code, "statement": asked.wire.decode()})
        assert answer.status_code == 403
    assert log_size(consortium) == size
    assert consortium.enrol(own, code).status_code == 200


def test_who_enrols_with_a_members_invitation_for_new_keys_is_no_member_by_that(consortium: Consortium) -> None:
    """The code was stolen on its way: the admin hears other words, and until a charter says so ada's old keys count."""
    thief = FakeSilo("ada", consortium.url, consortium.card)
    assert consortium.enrol(thief, consortium.invite("ada")).status_code == 200
    assert thief.ask_token(thief.assertion()).status_code == 401
    assert consortium.silo("ada").get(routes.SILOS).status_code == 200
    waiting = consortium.admin.get(routes.ENROLMENTS).json()
    assert [one["silo"] for one in waiting if one["silo"] == "ada"] == ["ada"]


def test_another_silos_statement_is_refused_and_not_recorded(consortium: Consortium) -> None:
    ada, bern = consortium.silo("ada"), consortium.silo("bern")
    size = log_size(consortium)
    with pytest.raises(Refusal) as refused:
        ada.post(
            bern.signed(
                "study-accepted", study="a" * 64, policy="1" * 64, dataset_commitment="2" * 64, decided_by="owner"
            )
        )
    assert refused.value.status == 403
    assert log_size(consortium) == size


def test_a_statement_signed_with_another_key_is_refused(consortium: Consortium) -> None:
    ada, bern = consortium.silo("ada"), consortium.silo("bern")
    size = log_size(consortium)
    with pytest.raises(Refusal) as refused:
        ada.post(sign(ada.body("study-withdrawn", study="a" * 64, reason="x"), bern.key))
    assert refused.value.status == 403
    assert log_size(consortium) == size


def test_a_signed_statement_that_is_refused_leaves_one_leaf_however_often_it_is_sent(consortium: Consortium) -> None:
    ada = consortium.silo("ada")
    signed = ada.signed("study-withdrawn", study="a" * 64, reason="There is no such study.")
    size = log_size(consortium)
    for _ in range(3):
        with pytest.raises(Refusal) as refused:
            ada.post(signed)
        assert refused.value.status == 404
    assert log_size(consortium) == size + 1
    last = consortium.officer.get(routes.LOG_EXPORT).text.splitlines()[-1]
    leaf = json.loads(last)["leaf"]
    assert (leaf["kind"], leaf["digest"], leaf["issuer"]) == ("refusal", signed.digest, "silo:ada")


def test_the_same_bytes_keep_their_index_and_a_nonce_serves_once(consortium: Consortium) -> None:
    first = consortium.admin.signed("invitation", silo="zeta", code="ab" * 32, expires_at=_soon())
    index = consortium.admin.post(first)
    assert consortium.admin.post(first) == index
    value = json.loads(first.wire)["body"] | {"silo": "eta"}
    second = _resigned(value, consortium.admin)
    with pytest.raises(Refusal, match="nonce") as refused:
        consortium.admin.post(second)
    assert refused.value.status == 409


def _resigned(value: dict[str, Any], party: Party) -> Signed:
    from tests.unit.hub.rig.party import BODY

    return sign(BODY.validate_json(canonical.encode(value)), party.key)


def _soon() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))


def test_a_batch_is_recorded_whole_or_not_at_all(consortium: Consortium) -> None:
    good = consortium.admin.signed("invitation", silo="kappa", code="cd" * 32, expires_at=_soon())
    bad = consortium.admin.signed("study-approved", study="a" * 64, assertion=None)
    size = log_size(consortium)
    with pytest.raises(Refusal):
        consortium.admin.post(good, bad)
    assert log_size(consortium) == size + 1  # the refusal alone
    assert consortium.admin.post(good) == [size + 1]


def test_roles_are_kept(consortium: Consortium) -> None:
    for party in (consortium.lead, consortium.officer, consortium.silo("ada")):
        with pytest.raises(Refusal, match="role") as refused:
            party.say("invitation", silo="mu", code="ab" * 32, expires_at=_soon())
        assert refused.value.status == 403
    with pytest.raises(Refusal, match="role"):
        consortium.silo("ada").say("study-closed", study="a" * 64, outcome="aborted", reason="by a silo")
    assert consortium.lead.http.get(routes.ENROLMENTS, auth=consortium.lead.auth).status_code == 403


@pytest.mark.parametrize(
    "path,value",
    [
        (("privacy", "epsilon"), -1.0),
        (("privacy", "delta"), 1.0),
        (("training", "rounds"), 10**9),
        (("training", "noise_multiplier"), 1e-9),
        (("surprise",), 1),
        (("schedule", "quorum"), 2),
    ],
)
def test_a_bad_contract_is_refused_by_field(consortium: Consortium, path: tuple[str, ...], value: Any) -> None:
    body = contract_value(tuple(silo.name for silo in consortium.silos))
    place = body
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    lead = consortium.lead
    head = {"type": "study-proposed", "issuer": lead.party, "issued_at": _soon(), "nonce": secrets.token_hex(16)}
    wire = canonical.encode({"body": {**head, "journal_head": None, "contract": body}, "signature": "0" * 128})
    size = log_size(consortium)
    answer = lead.http.post(routes.STATEMENTS, content=wire, auth=lead.auth)
    assert (answer.status_code, answer.json()["type"]) == (400, "consortia:malformed")
    assert path[-1] in answer.json()["detail"]
    assert log_size(consortium) == size


def test_a_contract_that_does_not_fit_what_silos_published_is_refused(consortium: Consortium) -> None:
    names = tuple(silo.name for silo in consortium.silos)
    wrong_rows = contract_value(names)
    wrong_rows["silos"][0]["rows"] = 999
    wrong_column = contract_value(names)
    wrong_column["data"]["features"][0]["name"] = "shoe_size"
    wrong_column["normalisation"]["columns"] = ["pressure", "pulse"]
    strangers = contract_value(("ada", "bern", "cork", "atlantis"))
    for value, word in ((wrong_rows, "rows"), (wrong_column, "shoe_size"), (strangers, "atlantis")):
        with pytest.raises(Refusal, match=word) as refused:
            consortium.lead.say("study-proposed", contract=value)
        assert refused.value.status == 409


def test_a_study_is_hidden_from_those_without_a_part_in_it(consortium: Consortium) -> None:
    outsider = newcomer(consortium)
    assert consortium.enrol(outsider, consortium.invite(outsider.name)).status_code == 200
    consortium.admit(outsider)
    study = consortium.propose(title="Hidden from outsiders")
    assert consortium.officer.get(routes.STUDY.format(study=study)).json()["state"] == "proposed"
    with pytest.raises(Refusal) as refused:
        outsider.get(routes.STUDY.format(study=study))
    assert refused.value.status == 404
    assert all(entry.study != study for _, entry, _ in outsider.poll())
    assert outsider.get(routes.STUDIES).json() == []


class Opened:
    """A study halted when its first round is open and no silo dealt its shares, to try bundles on."""

    def __init__(self, consortium: Consortium) -> None:
        for silo in consortium.silos:
            silo.silent_in = {(0, "ready")}
        self.study = consortium.start(title=f"Halted {secrets.token_hex(4)}", timeout_s=600)
        with consortium.running(self.study):
            consortium.await_status(self.study, lambda s: bool(s["current"]))
        for silo in consortium.silos:
            silo.poll()
        self.place: dict[str, Any] = {"study": self.study, "round": 0, "attempt": 1}
        self.body = SimpleNamespace(**self.place)
        self.bundle = secrets.token_bytes(bundle_bytes(4))

    def path(self, silo: str) -> str:
        return routes.SHARES.format(silo=silo, **self.place)


@pytest.fixture(scope="module")
def opened(consortium: Consortium) -> Opened:
    return Opened(consortium)


def test_a_bundle_is_taken_once_never_replaced_and_read_by_the_silos_only(
    consortium: Consortium, opened: Opened
) -> None:
    ada, bern, bundle = consortium.silo("ada"), consortium.silo("bern"), opened.bundle
    assert ada.put_shares(bundle, **opened.place).status_code == 201
    assert ada.put_shares(bundle, **opened.place).status_code == 200
    assert ada.put_shares(bytes(len(bundle)), **opened.place).status_code == 409
    assert bern.get(opened.path("ada")).content == bundle
    for party, silo, status in (
        (consortium.lead, "ada", 403),
        (bern, "dale", 404),
        (bern, "../x", 404),
        (bern, "X", 400),
    ):
        with pytest.raises(Refusal) as refused:
            party.get(opened.path(silo))
        assert refused.value.status == status


def test_a_bundle_of_a_wrong_size_place_digest_or_dealer_is_refused(consortium: Consortium, opened: Opened) -> None:
    bern, bundle, place = consortium.silo("bern"), opened.bundle, opened.place
    assert bern.put_shares(bundle[:-1], **place).status_code == 400
    assert bern.put_shares(bundle + b"x", **place).status_code == 413
    assert bern.put_shares(bundle * 100, **place).status_code == 413
    assert bern.put_shares(bundle, **{**place, "attempt": 2}).status_code == 409
    assert bern.put_shares(bundle, **{**place, "round": 1}).status_code == 409
    assert bern.put_shares(bundle, **place, silo="cork").status_code == 403
    wrong = base64.b64encode(bytes(32)).decode()
    headers = {"Content-Digest": f"sha-256=:{wrong}:"}
    assert bern.http.put(opened.path("bern"), content=bundle, headers=headers, auth=bern.auth).status_code == 400
    assert bern.http.put(opened.path("bern"), content=bundle, auth=bern.auth).status_code == 400
    with pytest.raises(Refusal) as refused:
        bern.get(opened.path("bern"))
    assert refused.value.status == 404


def test_ready_without_its_bundle_is_refused_and_says_what_to_do(consortium: Consortium, opened: Opened) -> None:
    cork = consortium.silo("cork")
    events = round_events(cork.contracts[opened.study], "cork", 0)
    spend = {"domain": "patients", "events": [one.model_dump(mode="json") for one in events], "ledger_head": "3" * 64}
    cork.say("spend-reserved", study=opened.study, round=0, **spend)
    offer = {"mask_key": "09" + "00" * 31, "self_commitment": "1" * 64}
    with pytest.raises(Refusal, match="PUT the bundle of shares") as refused:
        cork.say("round-ready", **opened.place, **offer, shares="ab" * 32)
    assert refused.value.status == 409
    cork.post(cork.dealt(opened.body))
    assert consortium.status(opened.study)["current"]["ready"] == ["cork"]


class Frozen:
    """A study halted when its first round is frozen, to try uploads on."""

    def __init__(self, consortium: Consortium) -> None:
        for silo in consortium.silos:
            silo.silent_in = {(0, "upload")}
        self.study = consortium.start(title=f"Halted {secrets.token_hex(4)}", timeout_s=600)
        with consortium.running(self.study):
            consortium.await_status(self.study, lambda s: bool(s["current"]) and s["current"]["state"] == "frozen")
        self.layout = round_layout(contract(tuple(silo.name for silo in consortium.silos)), 0, 4)
        self.chunk = secrets.token_bytes(self.layout.upload_chunk_bytes(0))


@pytest.fixture(scope="module")
def frozen(consortium: Consortium) -> Frozen:
    return Frozen(consortium)


def test_a_chunk_is_taken_once_and_never_replaced(consortium: Consortium, frozen: Frozen) -> None:
    ada = consortium.silo("ada")
    assert ada.put_chunk(frozen.study, 0, 1, 0, frozen.chunk).status_code == 201
    assert ada.put_chunk(frozen.study, 0, 1, 0, frozen.chunk).status_code == 200
    other = bytes(len(frozen.chunk))
    assert ada.put_chunk(frozen.study, 0, 1, 0, other).status_code == 409


def test_chunks_of_a_wrong_size_place_or_digest_are_refused(consortium: Consortium, frozen: Frozen) -> None:
    bern, chunk, study = consortium.silo("bern"), frozen.chunk, frozen.study
    assert bern.put_chunk(study, 0, 1, 0, chunk[:-1]).status_code == 400
    assert bern.put_chunk(study, 0, 1, 0, chunk + b"x").status_code == 413
    assert bern.put_chunk(study, 0, 1, 0, chunk * 40).status_code == 413
    assert bern.put_chunk(study, 1, 1, 0, chunk).status_code == 409
    assert bern.put_chunk(study, 0, 2, 0, chunk).status_code == 409
    assert bern.put_chunk(study, 0, 1, 7, chunk).status_code == 400
    wrong = base64.b64encode(bytes(32)).decode()
    path = routes.CHUNK.format(study=study, round=0, attempt=1, index=0)
    headers = {"Content-Digest": f"sha-256=:{wrong}:"}
    assert bern.http.put(path, content=chunk, headers=headers, auth=bern.auth).status_code == 400
    assert bern.http.put(path, content=chunk, auth=bern.auth).status_code == 400
    assert consortium.lead.http.put(path, content=chunk, auth=consortium.lead.auth).status_code == 403
    assert consortium.status(study)["current"]["uploaded"] == []


def test_a_bundle_after_the_freeze_changes_nothing(consortium: Consortium, frozen: Frozen) -> None:
    ada, place = consortium.silo("ada"), {"study": frozen.study, "round": 0, "attempt": 1}
    known = ada.get(routes.SHARES.format(silo="ada", **place)).content
    assert ada.put_shares(known, **place).status_code == 200
    assert ada.put_shares(bytes(len(known)), **place).status_code == 409
    assert ada.get(routes.SHARES.format(silo="ada", **place)).content == known


def test_an_upload_is_complete_only_when_every_chunk_arrived(consortium: Consortium, frozen: Frozen) -> None:
    cork = consortium.silo("cork")
    freeze = cork.frozen[frozen.study, 0, 1][1].hex()
    place = {"study": frozen.study, "round": 0, "attempt": 1, "freeze": freeze, "chunks": ["ab" * 32]}
    with pytest.raises(Refusal, match="PUT what is missing"):
        cork.say("upload-complete", **place)


def test_a_body_without_length_is_cut_off_at_the_limit(consortium: Consortium) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(1024 * 1024)

    ada = consortium.silo("ada")
    answer = ada.http.post(routes.STATEMENTS, content=endless(), auth=ada.auth)
    assert answer.status_code == 413


def test_health_answers_while_45_parties_poll(consortium: Consortium) -> None:
    ada = consortium.silo("ada")
    ada.poll()
    after = ada.next
    answers: list[int] = []

    def poll() -> None:
        given = {"after": str(after), "wait_s": "4"}
        answers.append(httpx.get(consortium.url + routes.POLL, params=given, auth=ada.auth, timeout=30).status_code)

    pollers = [threading.Thread(target=poll) for _ in range(45)]
    for poller in pollers:
        poller.start()
    time.sleep(1)
    assert not answers  # all of them still wait
    assert httpx.get(consortium.url + "/health", timeout=2).status_code == 200
    assert "consortia_requests" in httpx.get(consortium.url + "/metrics", timeout=2).text
    assert not answers
    for poller in pollers:
        poller.join()
    assert answers == [200] * 45


def test_the_export_verifies_offline_and_withholds_what_does_not_concern_the_reader(consortium: Consortium) -> None:
    from protocol.export import read_export, verify_tree
    from protocol.translog import VerifierKey

    trusted = str(VerifierKey.from_hex(consortium.card["log_origin"], consortium.card["log_key"]))
    for party in (consortium.officer, newcomer_member(consortium)):
        lines = party.get(routes.LOG_EXPORT).text.splitlines(keepends=True)
        verified = verify_tree(read_export(lines), trusted)
        withheld = [leaf for leaf in verified.leaves if leaf.recorded is None]
        assert bool(withheld) == (party is not consortium.officer)


def newcomer_member(consortium: Consortium) -> FakeSilo:
    silo = newcomer(consortium)
    assert consortium.enrol(silo, consortium.invite(silo.name)).status_code == 200
    consortium.admit(silo)
    return silo


def test_the_hubs_log_holds_no_token_and_no_body(hub: HubProcess, consortium: Consortium) -> None:
    logged = hub.logged()
    assert consortium.silo("ada").token not in logged
    assert "client_assertion" not in logged
    assert "Traceback" not in logged
