"""A ledger that was put back or lost: noticed, refused, rebuilt from what alpha signed, never cheaper than it was."""

import shutil
from dataclasses import replace

import pytest

from protocol.accounting import epsilon_at
from protocol.membership_statements import CapDeclared, DomainDeclared
from protocol.round_statements import SpendReserved, SpendSettled
from protocol.rounds import charge_id, round_events
from protocol.study import study_cost
from silo_node.agent import sayings
from silo_node.agent.declaring import set_cap, try_to_declare
from silo_node.agent.forecasting import forecast_after, forecasts
from silo_node.agent.memory import check_ledger
from silo_node.agent.pipeline import compute_update
from silo_node.agent.reconciling import mirror_lines, reconcile
from silo_node.agent.recovering import recover_ledger
from silo_node.agent.registering import publish_pending, register_dataset
from silo_node.agent.silo import use_of
from silo_node.agent.study import Study
from silo_node.dataset.registration import register
from silo_node.dataset.schema import Schema
from silo_node.errors import ConfigRefused, HubUnreachable, LedgerDamaged
from silo_node.ledger.budget import PrivacyDomain, Refused, Rule, Settled
from silo_node.ledger.caps import EACH, Cap, Use
from silo_node.ledger.sqlite import SqliteLedger
from tests.unit.silo_node.agent.conftest import SCHEMA
from tests.unit.silo_node.agent.story import begin_study, run_round

CAP = 4 * 10**12
ELSEWHERE = "patients of the new clinic, which opened this year"


def spent(node):
    return node.silo.ledger.balance("patients").spent_picos


def cap(node, scope="recipient", name="rosa", picos=CAP):
    return set_cap(node.silo, Cap("patients", scope, name, picos), "the board decided so")


def verdicts(node):
    return {(line.what, line.verdict) for line in reconcile(node.silo).differences}


def declare_more(node):
    """A cap, and a second domain."""
    cap(node, "study", EACH, CAP)
    clinic = register("clinic", node.folder / "clinic.csv", Schema(**SCHEMA), "clinic", 3.0, 0.001, 4, 100)
    register_dataset(node.silo, clinic, ELSEWHERE)
    publish_pending(node.silo, set())


@pytest.fixture
def story(node, peers):
    """A copy of the ledger is taken, then a cap and a domain come, and round 0 is reserved and settled and said so."""
    peers.propose()
    node.agent.poll(0)
    node.backup("ledger")
    declare_more(node)
    study, charge = Study(peers.record, node.silo.tasks.follower().in_force, True), charge_id(peers.study, 0)
    events = round_events(peers.contract, "alpha", 0)
    node.silo.ledger.reserve("patients", charge, events, use_of(peers.contract, peers.study))
    node.silo.voice.say(sayings.reserved(node.silo, study, 0, "patients"))
    node.silo.ledger.settle(charge, events)
    node.silo.voice.say(sayings.settled(node.silo, study, 0, "patients", events))
    node.agent.poll(0)
    return node


@pytest.fixture
def under_way(node, peers):
    """The same in a study whose round 0 is really run."""
    begin_study(node, peers)
    node.backup("ledger")
    declare_more(node)
    peers.open(0)
    node.go()
    return node


def test_a_ledger_that_was_put_back_is_refused_with_the_way_to_recover_it(story):
    story.restore("ledger")
    with pytest.raises(LedgerDamaged, match=r"does not hold what this silo signed.*consortia-silo ledger recover"):
        story.start()


def test_a_ledger_that_was_put_back_pays_for_no_round_even_in_a_node_that_had_checked_it(under_way, peers):
    study = Study(peers.record, under_way.silo.tasks.follower().in_force, True)
    under_way.restore("ledger")
    current, runs = replace(peers.record.rounds[0], index=1), under_way.runner.runs
    with pytest.raises(LedgerDamaged, match="ledger recover"):
        compute_update(under_way.silo, study, current)
    assert (under_way.runner.runs, under_way.silo.ledger.charge(charge_id(peers.study, 1))) == (runs, None)


def test_recovery_brings_back_every_charge_cap_and_domain_and_the_node_goes_on(under_way, peers):
    before, caps = spent(under_way), under_way.silo.ledger.caps("patients")
    under_way.restore("ledger")
    assert spent(under_way) < before
    recovery = recover_ledger(under_way.silo)
    assert (recovery.domains, recovery.caps, recovery.charges, recovery.settlements) == (1, 1, 1, 1)
    assert (spent(under_way), under_way.silo.ledger.caps("patients")) == (before, caps)
    (declared,) = [entry for entry in under_way.silo.ledger.declared() if entry.others]
    assert declared.others.reason == ELSEWHERE
    under_way.start()
    finish_round(under_way, peers)
    peers.open(1)
    under_way.go()
    assert isinstance(under_way.silo.ledger.charge(charge_id(peers.study, 1)), Settled)


def test_a_ledger_that_is_gone_is_rebuilt_whole(story):
    before = spent(story)
    story.close()
    shutil.rmtree(story.folder / "ledger")
    story.open()
    assert isinstance(story.silo.ledger.balance("patients"), Refused)
    recovery = recover_ledger(story.silo)
    assert (recovery.domains, recovery.charges, recovery.settlements) == (2, 1, 1)
    assert spent(story) == before
    story.start()


def test_recovery_counts_what_no_longer_fits(story, peers):
    """The owner lowered a cap below what is spent: what was run is charged all the same."""
    cap(story, "study", EACH, 0)
    assert try_to_declare(story.silo)
    before = spent(story)
    story.restore("ledger")
    recover_ledger(story.silo)
    assert spent(story) == before
    use = Use("heart", peers.study, ("rosa",))
    refusal = story.silo.ledger.reserve("patients", f"{peers.study}:9", round_events(peers.contract, "alpha", 0), use)
    assert isinstance(refusal, Refused) and refusal.rule is Rule.WITHIN_CAP


def test_a_round_that_was_reserved_and_never_settled_comes_back_in_full(node, peers):
    begin_study(node, peers)
    node.backup("ledger")
    peers.open(0)
    node.hub.step = lambda what: die_after(node, what)
    with pytest.raises(HubUnreachable):
        node.go()
    node.hub.step = lambda what: None
    before = spent(node)
    node.restore("ledger")
    assert (spent(node), before > 0) == (0, True)
    assert recover_ledger(node.silo).settlements == 0
    assert spent(node) == before


def finish_round(node, peers):
    for step in (peers.freeze, peers.upload, peers.serve):
        step()
        node.go()
    peers.unmask(node)
    peers.verify()
    peers.close()
    node.go()


def die_after(node, what):
    if what == "post" and node.silo.ledger.balance("patients").reserved_picos:
        raise HubUnreachable("cut off")


def test_recovery_that_is_killed_anywhere_is_finished_by_the_next_one(story, monkeypatch):
    before = spent(story)
    story.restore("ledger")
    for name in ("reregister", "cap", "readmit", "settle"):
        real = getattr(SqliteLedger, name)

        def die(ledger, *given, real=real):
            real(ledger, *given)
            raise KeyboardInterrupt

        monkeypatch.setattr(SqliteLedger, name, die)
        with pytest.raises(KeyboardInterrupt):
            recover_ledger(story.silo)
        monkeypatch.undo()
        with pytest.raises(LedgerDamaged):
            check_ledger(story.silo)
    recover_ledger(story.silo)
    check_ledger(story.silo)
    assert spent(story) == before


def test_recovering_twice_and_recovering_what_is_whole_changes_nothing(story):
    whole = story.silo.ledger.head()
    assert recover_ledger(story.silo).heads == 0
    assert story.silo.ledger.head() == whole
    story.restore("ledger")
    recover_ledger(story.silo)
    head = story.silo.ledger.head()
    assert recover_ledger(story.silo).heads == 0
    assert story.silo.ledger.head() == head


def test_an_older_copy_put_back_after_a_recovery_is_noticed_again(story):
    shutil.copytree(story.folder / "ledger.backup", story.folder / "older")
    story.restore("ledger")
    recover_ledger(story.silo)
    (story.folder / "older").rename(story.folder / "ledger.backup")
    story.restore("ledger")
    with pytest.raises(LedgerDamaged):
        story.start()


def test_a_recovery_is_in_the_journal_before_anything_is_brought_back(story, monkeypatch):
    story.restore("ledger")
    monkeypatch.setattr(SqliteLedger, "reregister", lambda *_: pytest.fail("nothing may be written yet"))
    monkeypatch.setattr(story.silo.voice.journal, "record", no_room)
    with pytest.raises(OSError):
        recover_ledger(story.silo)


def no_room(*_):
    raise OSError(28, "no room")


def test_a_ledger_and_a_log_that_agree_have_no_difference(story):
    story.agent.poll(0)
    compared = reconcile(story.silo)
    assert (compared.differences, compared.leaves) == ((), story.hub.tree.size)
    assert {line.what for line in compared.lines} >= {"round 0", "the terms of domain patients"}


def test_what_the_ledger_has_and_the_log_has_not_is_a_difference_and_the_other_way_round(story, peers):
    story.agent.poll(0)
    use = Use("heart", peers.study, ("rosa",))
    story.silo.ledger.reserve("patients", f"{peers.study}:7", round_events(peers.contract, "alpha", 0), use)
    cap(story)
    assert verdicts(story) == {
        ("round 7", "missing in the log"),
        ("the cap on recipient rosa", "missing in the log"),
    }
    story.restore("ledger")
    assert verdicts(story) == {
        ("round 0", "missing here"),
        ("cap-declared of domain patients", "missing here"),
        ("domain-declared of domain clinic", "missing here"),
        ("the terms of domain clinic", "missing here"),
    }


def test_a_charge_that_is_another_in_the_log_is_a_difference(story, peers):
    story.agent.poll(0)
    story.close()
    shutil.rmtree(story.folder / "ledger")
    story.open()
    events = round_events(peers.contract, "alpha", 1)
    story.silo.ledger.register(PrivacyDomain("patients", "record", 9.0, 1e-3, 4))
    story.silo.ledger.reserve("patients", f"{peers.study}:0", events, Use("heart", peers.study, ("rosa",)))
    story.silo.ledger.settle(f"{peers.study}:0", events)
    assert {("round 0", "differs"), ("the terms of domain patients", "differs")} <= verdicts(story)
    with pytest.raises(LedgerDamaged, match="can't take back"):
        recover_ledger(story.silo)


def test_the_hubs_mirror_is_held_against_the_ledgers_totals(story):
    from protocol.routes import BudgetStatus

    balance = story.silo.ledger.balance("patients")
    domain = balance.domain
    terms = {"silo": "alpha", "domain": "patients", "unit": domain.unit, "epsilon_cap": domain.epsilon}
    terms |= {"delta": domain.delta, "order": domain.order, "cap": domain.cap_picos, "epsilon_spent": 1.0}
    same = BudgetStatus(**terms, reserved=balance.reserved_picos, settled=balance.settled_picos)
    less = BudgetStatus(**terms, reserved=balance.reserved_picos, settled=balance.settled_picos - 1)
    told = {line.what: line.verdict for line in mirror_lines(story.silo, [same])}
    assert told["the hub's mirror of domain patients"] == "equal"
    assert told["the hub's mirror of domain clinic"] == "missing in the log"
    told = {line.what: line.verdict for line in mirror_lines(story.silo, [less])}
    assert told["the hub's mirror of domain patients"] == "differs"


def test_caps_and_declarations_stand_in_the_log_with_the_head_that_holds_them(story):
    (said,) = story.hub.logged(CapDeclared)
    assert (said.domain, said.scope, said.name, said.picos) == ("patients", "study", EACH, CAP)
    (domain,) = story.hub.logged(DomainDeclared)
    assert (domain.domain, domain.beside, domain.reason) == ("clinic", ("patients",), ELSEWHERE)
    assert story.silo.ledger.extends(said.ledger_head) and story.silo.ledger.extends(domain.ledger_head)
    notes = [note.what for note in story.notes]
    assert f"owner: cap on each study in domain patients: {CAP} picos: the board decided so" in notes


def test_a_cap_that_the_hub_did_not_take_is_said_by_the_node_later_and_once(node):
    node.hub.refusing = HubUnreachable("away")
    cap(node)
    assert not try_to_declare(node.silo)
    node.hub.refusing = None
    for _ in range(3):
        publish_pending(node.silo, node.agent._studies.datasets)
        node.agent.poll(0)
    assert len(node.hub.logged(CapDeclared)) == 1


def test_a_study_is_refused_where_a_cap_leaves_less_than_it_costs_and_the_cap_is_named(node, peers):
    cap(node, "recipient", "rosa", study_cost(peers.contract, "alpha", 4) - 1)
    peers.propose()
    node.go()
    ((rule, reason),) = [(body.rule, body.reason) for body in refusals(node)]
    assert rule == "within-budget"
    assert "by your cap on recipient rosa" in reason


def refusals(node):
    from protocol.study_statements import StudyRefused

    return node.hub.logged(StudyRefused)


def test_a_cap_wider_than_the_domain_is_refused(node):
    with pytest.raises(ConfigRefused, match="cap-bounds"):
        cap(node, picos=10**15)


def test_a_cap_that_is_lowered_between_two_rounds_stops_the_next_one(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    cap(node, "dataset", "heart", spent(node))
    peers.open(1)
    node.go()
    assert node.charges()[-1] == ("settle", charge_id(peers.study, 0))
    assert [body.round for body in node.hub.logged(SpendReserved)] == [0]
    assert [body.round for body in node.hub.logged(SpendSettled)] == [0]


def test_the_forecast_is_what_the_ledger_will_admit_once_the_studies_under_way_are_through(make_node, small):
    from tests.unit.silo_node.agent.peers import Peers

    cost = study_cost(small, "alpha", 4)
    node = make_node(epsilon=epsilon_at(4 * cost + cost // 2, 0.001, 4))
    peers = Peers(node.hub, small)
    begin_study(node, peers)
    peers.open(0)
    node.go()
    records = list(node.agent._studies.records.values())
    (told,) = forecasts(node.silo, records)
    assert (told.forecast.more, told.forecast.cost_picos) == (3, cost)
    assert str(told) == "at this rate dataset heart serves 3 more such studies"
    dataset = node.silo.catalogue.get("heart")
    assert forecast_after(node.silo, dataset, records[0], records).more == 3
    cap(node, "recipient", "rosa", 2 * cost)
    (told,) = forecasts(node.silo, records)
    assert (told.forecast.more, told.forecast.bound_by) == (1, "recipient rosa")
    cap(node, "study", EACH, cost - 1)
    (told,) = forecasts(node.silo, records)
    assert (told.forecast.more, told.forecast.bound_by) == (0, "each study")
