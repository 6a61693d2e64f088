"""A local page served beside the test, and the security key that Chromium's debugging protocol simulates."""

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Queue
from typing import Any, Literal

from playwright.sync_api import Page

from client.decision_page.deciding import Choice, Decider, Decision, Draft, decide_on_page, statement_draft
from client.decision_page.local_page import Setting
from client.decision_page.matter import Matter, Standing, study_matter
from protocol.decision import Assertion, DecisionKey
from protocol.ids import Strict
from protocol.study import study_id
from tests.sample_study import contract

WAIT_S = 60


class Approved(Strict):
    type: Literal["study-approved"]
    issuer: str
    nonce: str
    study: str
    assertion: Assertion | None


class Objected(Strict):
    type: Literal["study-objected"]
    issuer: str
    nonce: str
    study: str
    reason: str
    assertion: Assertion | None


@dataclass
class Drafts:
    """Makes bodies as the command does, each with a nonce of its own."""

    study: str
    made: list[Approved | Objected] = field(default_factory=list)

    def __call__(self, choice: Choice) -> Draft[Any]:
        fields = {"issuer": "person:ada", "nonce": f"{len(self.made):032x}", "study": self.study, "assertion": None}
        if choice.verdict == "approve":
            self.made.append(Approved(type="study-approved", **fields))
        else:
            self.made.append(Objected(type="study-objected", reason=choice.reason, **fields))
        return statement_draft(self.made[-1])


@dataclass
class Served:
    """A page that another thread serves; ``result`` waits for its end."""

    run: Callable[[Setting], Any]
    timeout_s: float = WAIT_S
    links: Queue = field(default_factory=Queue)
    outcome: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.link: str = self.links.get(timeout=WAIT_S)

    def _run(self) -> None:
        try:
            self.outcome.append(self.run(Setting(self.links.put, None, self.timeout_s)))
        except Exception as error:  # noqa: BLE001  # raised again in the test
            self.outcome.append(error)

    def result(self) -> Any:
        self.thread.join(WAIT_S)
        (value,) = self.outcome
        if isinstance(value, Exception):
            raise value
        return value


STUDY = contract(title="Heart <disease> & <script>alert(1)</script>")
MATTER = study_matter(STUDY, Standing(("bob",), (("carol", "The cohort is too small."),), 2), {})


def decide(key: DecisionKey | None = None, timeout_s: float = WAIT_S, drafts: Drafts | None = None) -> Served:
    drafts = drafts or Drafts(study_id(STUDY))
    decider = Decider("ada", "Heart Consortium", key)
    return Served(lambda setting: decide_on_page(MATTER, decider, drafts, setting), timeout_s)


class CharterSignature(Strict):
    signer: str
    signature: str
    assertion: Assertion | None


CHARTER = '{"format":"consortia-charter/2","version":2}'
CHARTER_MATTER = Matter("Charter, version 2", "Digest", CHARTER, (), Standing((), (), 2), may_object=False)


def charter_draft(choice: Choice) -> Draft[CharterSignature]:
    signature = CharterSignature(signer="ada", signature="ab" * 64, assertion=None)
    return Draft(signature, "charter", CHARTER.encode())


def decision_of(served: Served) -> Decision[Any]:
    made = served.result()
    assert isinstance(made, Decision)
    return made


@dataclass
class Token:
    """The simulated security key of one tab."""

    page: Page

    def __post_init__(self) -> None:
        self.session = self.page.context.new_cdp_session(self.page)
        self.session.send("WebAuthn.enable")
        self.id = self.add()

    def add(self, **changes: Any) -> str:
        options = {
            "protocol": "ctap2",
            "transport": "usb",
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
            **changes,
        }
        made: str = self.session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
        return made

    def credentials(self) -> list[dict[str, Any]]:
        return self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"]

    def put(self, credential: bytes, private: bytes, **more: Any) -> None:
        held = {
            "credentialId": base64.b64encode(credential).decode(),
            "isResidentCredential": False,
            "rpId": "consortia-decision.localhost",
            "privateKey": base64.b64encode(private).decode(),
            "signCount": 1,
            **more,
        }
        self.session.send("WebAuthn.addCredential", {"authenticatorId": self.id, "credential": held})

    def is_verified(self, verified: bool) -> None:
        self.session.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": verified})
