"""How a decision is asked for: in the terminal, or on a page that this command serves; always where the key is."""

from typing import Annotated

import typer

from client import admin
from client.commands.options import print_contract, show_link
from client.connection import Connection
from client.errors import UsageRefused
from client.registrations import registered
from pages.charter import charter_in_words
from protocol.charter import Charter, charter_bytes
from protocol.decision import DecisionKey
from protocol.study_statements import StudyApproved, StudyObjected
from protocol.succession import DECISION, CharterSignature

Page = Annotated[bool, typer.Option("--page", help="Decide on a page that this command serves, on this machine only")]
Judgement = StudyApproved | StudyObjected


def judge(
    connection: Connection, study: str, reason: str | None, page: bool, yes: bool, quiet: bool
) -> Judgement | None:
    """What the admin says of a study, signed by nobody yet; None where it says nothing.

    ``reason`` for an objection. A security key is asked for on the page, whether ``page`` was asked for or not.
    """
    key = connection.log.charter.person(connection.identity.person).decision_key
    if page or key is not None:
        return _on_page(connection, study, key)
    if not quiet:
        print_contract(connection.log.contract(study), study)
    what = "approval of" if reason is None else "objection to"
    if not yes and not typer.confirm(f"Sign the {what} exactly this?"):
        return None
    return admin.approval(connection, study) if reason is None else admin.objection(connection, study, reason)


def touch(signature: CharterSignature, charter: Charter, key: DecisionKey) -> CharterSignature:
    """The signature with an assertion by the security key, which is asked for on a page that shows the charter."""
    from client.decision_page.deciding import Choice, Decider, Draft, decide_on_page
    from client.decision_page.local_page import Setting
    from client.decision_page.matter import Matter, Standing

    matter = Matter(
        title=f"Charter version {charter.version} of {charter.consortium}",
        name="Charter digest",
        exact=charter_bytes(charter).decode(),
        words=charter_in_words(charter),
        standing=Standing((), (), charter.threshold),
        may_object=False,
    )

    def draft(_: Choice) -> Draft[CharterSignature]:
        return Draft(signature, DECISION, charter_bytes(charter))

    decided = decide_on_page(matter, Decider(signature.signer, charter.consortium, key), draft, Setting(show_link))
    if decided is None:
        raise UsageRefused("not signed: the page was closed without a decision")
    return decided.body


def _on_page(connection: Connection, study: str, key: DecisionKey | None) -> Judgement | None:
    from client.decision_page.deciding import Choice, Decider, Draft, decide_on_page, statement_draft
    from client.decision_page.local_page import Setting
    from client.decision_page.matter import Standing, study_matter

    contract, charter = connection.log.contract(study), connection.log.charter
    standing = Standing(
        tuple(party.removeprefix("person:") for party in admin.approving(connection, study)),
        tuple((party.removeprefix("person:"), why) for party, why in admin.objecting(connection, study).items()),
        charter.threshold,
    )

    def draft(choice: Choice) -> Draft[Judgement]:
        if choice.verdict == "approve":
            return statement_draft(admin.approval(connection, study))
        return statement_draft(admin.objection(connection, study, choice.reason or ""))

    matter = study_matter(contract, standing, registered(connection, contract.data.dataset))
    decider = Decider(connection.identity.person, charter.consortium, key)
    decided = decide_on_page(matter, decider, draft, Setting(show_link))
    return None if decided is None else decided.body
