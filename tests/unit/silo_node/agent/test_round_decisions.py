"""The policy is asked again at every round: on the day's files, the day's time, what is left, and today's sandbox."""

import re
from datetime import timedelta
from itertools import count

import pytest

from policies import catalogue
from protocol.canonical import digest
from protocol.ids import moment
from protocol.rounds import round_events
from protocol.study_statements import ReleaseApproved, StudyAccepted, StudyWithdrawn
from silo_node.agent import silo as silo_module
from silo_node.agent.answering import choices, give_answer, is_due, verdict
from silo_node.agent.answers import standing
from silo_node.errors import PolicyRefused
from silo_node.ledger.budget import Admitted
from silo_node.ledger.caps import Use
from tests.unit.silo_node.agent.conftest import BASELINE, LIMITS
from tests.unit.silo_node.agent.peers import Peers
from tests.unit.silo_node.agent.story import begin_study, run_round, run_study

HOSPITAL = catalogue.policy_text("hospital")
OTHERS_USE = Use("heart", "0" * 64, ("grace",))
DIGESTS = re.compile(r"^(.*?) under policy ([0-9a-f]{64}) on facts ([0-9a-f]{64})")


@pytest.fixture
def sandbox(monkeypatch):
    """Sets what the node computes in from now on."""

    def put(level):
        monkeypatch.setattr(silo_module, "sandbox_level", lambda: level)

    put("bubblewrap")
    return put


def decided(node):
    """What was decided, policy digest, facts digest: of every decision in the journal that names both."""
    return [found.groups() for note in node.notes if note.kind == "decision" and (found := DIGESTS.match(note.what))]


def offered(node, peers):
    """Whether an answer is due, and the answers that are offered."""
    due = is_due("alpha", peers.record, node.silo.tasks.decided())
    return due, choices(node.silo, peers.record, verdict(node.silo, peers.record))


def ready(node, index):
    """Whether the node computed round ``index``."""
    return index in node.runner.vectors


def test_every_decision_of_a_study_stands_in_the_journal_under_its_policy_and_facts(node, peers):
    run_study(node, peers)
    peers.request()
    node.go()
    whats, policies, facts = zip(*decided(node), strict=True)
    assert whats == (
        "accepted by owner-rule",
        *(f"round {index} allowed by owner-rule" for index in range(3)),
        "release allowed by owner-rule",
    )
    assert set(policies) == {digest(BASELINE.read_bytes())}
    assert len(set(facts)) == len(facts)
    assert {body.policy for body in node.hub.logged(StudyAccepted)} == set(policies)


def test_an_owner_who_edits_the_policy_between_two_rounds_is_heard_at_the_next_one(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    above, last, _ = BASELINE.read_text().rpartition("// End of the rules.")
    edited = above + (
        '@id("no-more") @found("it is {now}") @reason("We stop here.") @remedy("Ask us.")\n'
        f'forbid (principal, action == Action::"round", resource);\n{last}'
    )
    node.write(policy=edited)
    peers.open(1)
    node.go()
    assert (ready(node, 0), ready(node, 1)) == (True, False)
    (left,) = node.hub.logged(StudyWithdrawn)
    assert left.reason.startswith("no-more: ")
    assert decided(node)[-1][:2] == ("round 1 refused by no-more", digest(edited.encode()))


def test_limits_that_shrink_between_two_rounds_end_the_study_before_it_is_charged_again(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    charged = node.charges()
    node.write(limits=LIMITS.replace("max_epsilon = 5.0", "max_epsilon = 0.1"))
    peers.open(1)
    node.go()
    assert node.charges() == charged
    assert node.hub.logged(StudyWithdrawn)[0].reason.startswith("epsilon-cap: ")


def test_limits_that_were_cut_off_in_the_middle_hold_a_running_study_and_leave_none(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    charged, runs = node.charges(), node.runner.runs
    peers.open(1)
    for kept in (0, LIMITS.index("[columns]"), LIMITS.index("max_epsilon"), len(LIMITS) - 2):
        node.write(limits=LIMITS[:kept])
        node.go()
        assert (node.charges(), node.runner.runs) == (charged, runs)
    assert not node.hub.logged(StudyWithdrawn)
    assert node.silo.tasks.halted(peers.study) is None
    node.write()
    node.go()
    assert ready(node, 1)


def test_a_study_that_ends_between_two_rounds_is_not_computed_any_more(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    node.now = moment(peers.contract.expires_at)
    peers.open(1)
    node.go()
    assert not ready(node, 1)
    assert decided(node)[-1][0] == "round 1 refused by not-expired"


def test_a_budget_that_others_used_up_between_two_rounds_stops_the_next_one(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    events, others = round_events(peers.contract, "alpha", 1), count()
    while isinstance(node.silo.ledger.reserve("patients", f"{'0' * 64}:{next(others)}", events, OTHERS_USE), Admitted):
        pass  # another study of the same patients takes what is left
    peers.open(1)
    node.go()
    assert not ready(node, 1)
    assert node.hub.logged(StudyWithdrawn)[0].reason.startswith("within-budget: ")
    assert decided(node)[-1][0] == "round 1 refused by within-budget"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_policy_file_that_is_half_written_between_two_rounds_stops_the_node_until_it_is_whole(node, peers, share):
    begin_study(node, peers)
    run_round(node, peers, 0)
    whole = BASELINE.read_text()
    rules = whole.split("\n\n")
    (node.folder / "policy.cedar").write_text("\n\n".join(rules[: int(len(rules) * share)]) + "\n")
    peers.open(1)
    node.go()
    assert (ready(node, 1), node.silo.tasks.halted(peers.study)) == (False, None)
    with pytest.raises(PolicyRefused, match="half-written"):
        _ = node.silo.rules.gate
    node.write()
    node.go()
    assert ready(node, 1)


def test_a_round_in_a_weaker_sandbox_than_the_owner_agreed_to_waits_for_them(make_node, small, sandbox):
    node = make_node(limits=LIMITS)
    node.write(policy=HOSPITAL)
    peers = Peers(node.hub, small)
    node.silo.tasks.answer(peers.study, "accept", "yes")
    begin_study(node, peers)
    run_round(node, peers, 0)
    sandbox("none")
    peers.open(1)
    node.go()
    node.go()
    assert (ready(node, 1), node.silo.tasks.halted(peers.study)) == (False, None)
    assert [what for what, *_ in decided(node)].count("round 1 waits, by sandbox-full") == 1
    assert standing(node.silo, peers.record).startswith("round 1 waits for you: sandbox-full: ")
    assert offered(node, peers) == (True, ("compute", "withdraw"))
    assert give_answer(node.silo, peers.record, "accept", "yes"), "though the very same answer is kept already"
    node.go()
    assert offered(node, peers) == (False, ("withdraw",))
    assert not give_answer(node.silo, peers.record, "accept", "yes")
    assert ready(node, 1)
    assert decided(node)[-1][0] == "round 1 allowed by owner"


def test_a_round_that_waits_is_noted_once_for_a_rule_though_its_sentence_tells_the_time(node, peers):
    begin_study(node, peers)
    above, last, _ = BASELINE.read_text().rpartition("// End of the rules.")
    node.write(
        policy=f'{above}@hold @id("each-round") @found("it is {{now}}") @reason("Be here.") @remedy("Say yes.")\n'
        f'forbid (principal, action == Action::"round", resource) unless {{ context.owner_approved }};\n{last}'
    )
    peers.open(0)
    for _ in range(3):
        node.go()
        node.now += timedelta(seconds=60)
    assert [what for what, *_ in decided(node)].count("round 0 waits, by each-round") == 1
    assert not ready(node, 0)


def test_a_round_in_a_better_sandbox_than_the_owner_agreed_to_needs_no_further_yes(make_node, small, sandbox):
    sandbox("landlock")
    node = make_node(limits=LIMITS)
    node.write(policy=HOSPITAL)
    peers = Peers(node.hub, small)
    node.silo.tasks.answer(peers.study, "accept", "yes")
    begin_study(node, peers)
    sandbox("bubblewrap")
    run_round(node, peers, 0)
    assert ready(node, 0)


def test_a_release_that_is_refused_for_now_is_noted_once_and_allowed_when_the_rules_change(node, peers):
    run_study(node, peers)
    peers.request()
    node.write(limits=LIMITS.replace("medical-research", "fraud-detection"))
    node.go()
    node.go()
    assert [what for what, *_ in decided(node)].count("release refused by purpose-allowed") == 1
    assert node.hub.logged(ReleaseApproved) == []
    node.write()
    node.go()
    assert len(node.hub.logged(ReleaseApproved)) == 1
