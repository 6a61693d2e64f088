"""Four silos, an admin, a researcher and an officer at a running hub, from founding to a running study."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from protocol import canonical, routes
from protocol.charter import Charter, charter_digest
from protocol.ids import timestamp
from protocol.signing import sign
from protocol.study import study_id
from tests.unit.hub.rig.contract import contract, dataset_fields
from tests.unit.hub.rig.party import Party, check
from tests.unit.hub.rig.silo import FakeSilo

SILOS = ("ada", "bern", "cork", "dale")


class Consortium:
    def __init__(self, url: str, card: dict[str, str], silos: tuple[str, ...] = SILOS) -> None:
        self.url, self.card = url, card
        self.admin = Party("person:ines", url, card)
        self.lead = Party("person:rosa", url, card)
        self.officer = Party("person:omar", url, card)
        self.silos = [FakeSilo(name, url, card) for name in silos]
        self.charter: Charter | None = None
        self.founding = ""

    def silo(self, name: str) -> FakeSilo:
        return next(silo for silo in self.silos if silo.name == name)

    def charter_value(self, **changes: Any) -> dict[str, Any]:
        roles = ((self.admin, "admin"), (self.lead, "researcher"), (self.officer, "officer"))
        people = [
            {
                "person": p.name,
                "role": role,
                "signing_key": p.public,
                "receiving_key": p.receiving,
                "decision_key": None,
            }
            for p, role in roles
        ]
        return {
            "format": "consortia-charter/2",
            "consortium": self.card["consortium"],
            "version": 1,
            "previous": None,
            "expires_at": "2099-01-01T00:00:00Z",
            "threshold": 1,
            "hub_key": self.card["hub_key"],
            "log_origin": self.card["log_origin"],
            "log_key": self.card["log_key"],
            "members": [],
            "people": people,
            "witnesses": [],
            "tolerated_liars": 0,
            **changes,
        }

    def found(self) -> None:
        signed = self.admin.signed("charter", **self.admin.signs(self.charter_value()))
        check(self.admin.http.post(routes.CHARTER, content=signed.wire))
        self.charter = signed.body.charter
        self.founding = charter_digest(self.charter)

    def invite(self, silo: str, minutes: float = 60) -> str:
        code = secrets.token_urlsafe(16)
        expires_at = timestamp(datetime.now(UTC) + timedelta(minutes=minutes))
        self.admin.say("invitation", silo=silo, code=canonical.digest(code.encode()), expires_at=expires_at)
        return code

    def enrolment(self, silo: FakeSilo, code: str, **changes: Any) -> dict[str, str]:
        fields = {
            "silo": silo.name,
            "signing_key": silo.public,
            "receiving_key": silo.receiving,
            "charter": self.founding,
        }
        signed = sign(silo.body("enrolment", **{**fields, **changes}), silo.key)
        return {"code": code, "statement": signed.wire.decode()}

    def enrol(self, silo: FakeSilo, code: str, **changes: Any) -> Any:
        return silo.http.post(routes.ENROLMENTS, json=self.enrolment(silo, code, **changes))

    def admit(self, *silos: FakeSilo) -> None:
        """A new charter version with these silos as members."""
        assert self.charter is not None
        old = self.charter.model_dump(mode="json")
        new = [{"silo": s.name, "signing_key": s.public, "receiving_key": s.receiving} for s in silos]
        value = {
            **old,
            "version": old["version"] + 1,
            "previous": charter_digest(self.charter),
            "members": old["members"] + new,
        }
        signed = self.admin.signed("charter", **self.admin.signs(value))
        self.admin.post(signed)
        self.charter = signed.body.charter

    def gather(self, epsilon: float = 5.0) -> None:
        """Founding, enrolment of all silos, registration of their datasets."""
        self.found()
        for silo in self.silos:
            check(self.enrol(silo, self.invite(silo.name)))
        self.admit(*self.silos)
        for silo in self.silos:
            silo.say("dataset-registered", **dataset_fields(epsilon))

    def propose(self, **given: Any) -> str:
        agreed = contract(tuple(silo.name for silo in self.silos), **given)
        self.lead.say("study-proposed", contract=agreed.model_dump(mode="json"))
        return study_id(agreed)

    def start(self, **given: Any) -> str:
        study = self.propose(**given)
        self.admin.say("study-approved", study=study, assertion=None)
        return study

    @contextmanager
    def running(self, study: str, silos: list[FakeSilo] | None = None) -> Iterator[None]:
        """The silos at work, each in a thread, until the study is closed for them or the block ends."""
        stop = threading.Event()

        def until(silo: FakeSilo) -> bool:
            return study in silo.closed

        threads = [threading.Thread(target=silo.run, args=(until, stop)) for silo in silos or self.silos]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(timeout=60)

    def status(self, study: str) -> dict[str, Any]:
        return self.lead.get(routes.STUDY.format(study=study)).json()

    def await_status(self, study: str, done: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while not done(status := self.status(study)):
            broken = [silo.error for silo in self.silos if silo.error]
            if broken or time.monotonic() > deadline:
                raise AssertionError(f"study stands at {status}; silos: {broken}")
            time.sleep(0.02)
        return status

    def finish(self, study: str, timeout_s: float = 60) -> dict[str, Any]:
        return self.await_status(
            study, lambda status: status["state"] in ("completed", "aborted", "expired"), timeout_s
        )
