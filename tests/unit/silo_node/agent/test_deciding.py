"""Whether alpha takes part: what everyone is told, and what only its owner reads."""

import pytest

from protocol.membership_statements import DatasetRegistered
from protocol.round_statements import RoundReady
from protocol.study_statements import ReleaseApproved, StudyAccepted, StudyRefused, StudyWithdrawn
from silo_node.agent.loop import MAX_RUNNER_FAILURES, SOURCE_PAUSE
from silo_node.agent.pulse import Pulse
from silo_node.agent.registering import publish_pending, try_to_publish
from silo_node.agent.studies import Studies
from silo_node.errors import DatasetRefused, HubRefused, HubUnreachable, RunnerFailed, SourceUnreachable
from silo_node.hub_client.retry import Backoff
from tests.unit.silo_node.agent.conftest import LIMITS
from tests.unit.silo_node.agent.peers import Peers
from tests.unit.silo_node.agent.story import begin_study, run_round, run_study

PRIVATE = "row 17 of patient 4711"
OVERFLOWS = """
@id("all") @reason("All is well.")
permit (principal is Study, action, resource)
unless { context.study.cost * 9223372036854775807 == context.study.epsilon * 9223372036854775807 };
"""


class Enough(Exception):
    """Ends ``Agent.run``, which never ends."""


def told(node):
    (body,) = node.hub.logged(StudyRefused)
    return body


def test_a_refusal_tells_everyone_the_first_rule_and_the_owner_all_of_them(node, peers):
    node.write(limits=LIMITS.replace("medical-research", "fraud-detection").replace("epsilon = 5.0", "epsilon = 1.0"))
    peers.propose()
    node.go()
    assert (told(node).rule, told(node).decided_by) == ("purpose-allowed", "policy")
    assert "epsilon" not in told(node).reason
    (note,) = [note for note in node.notes if note.kind == "decision"]
    assert "refused by purpose-allowed" in note.what
    assert "; also epsilon-cap: " in note.what
    node.go()
    assert peers.record.refused == {"alpha": "purpose-allowed"}


def test_what_cedar_said_when_it_failed_stays_in_the_journal(node, peers):
    node.write(policy=OVERFLOWS)
    peers.propose()
    node.go()
    assert told(node).rule == "policy-error"
    (note,) = [note for note in node.notes if note.kind == "decision"]
    assert "Cedar said: " in note.what
    assert "overflow" in note.what
    assert "overflow" not in node.sent
    assert "Cedar" not in node.sent


def test_the_text_of_a_dataset_problem_found_while_deciding_never_leaves(node, peers):
    peers.propose()
    (node.folder / "datasets" / "heart.json").write_text('{"name": "heart", "source": "patient 4711"}')
    node.go()
    assert (told(node).rule, "its owner knows why" in told(node).reason) == ("dataset", True)
    assert any("heart.json is damaged" in note.what for note in node.notes)
    assert "damaged" not in node.sent
    assert "4711" not in node.sent


def test_the_text_of_a_dataset_problem_found_while_computing_never_leaves(node, peers):
    begin_study(node, peers)
    node.runner.problems = [DatasetRefused(PRIVATE)]
    peers.open(0)
    node.go()
    (left,) = node.hub.logged(StudyWithdrawn)
    assert "its owner knows why" in left.reason
    assert PRIVATE not in node.sent
    assert PRIVATE in node.notes[-1].what
    assert PRIVATE in node.silo.tasks.halted(peers.study)


def test_a_runner_that_fails_three_times_ends_the_study_here_and_says_nothing_of_the_data(node, peers):
    begin_study(node, peers)
    node.runner.problems = [RunnerFailed(PRIVATE)] * MAX_RUNNER_FAILURES
    peers.open(0)
    node.go()
    (left,) = node.hub.logged(StudyWithdrawn)
    assert left.reason == "computing failed at this silo"
    assert (node.runner.runs, PRIVATE in node.sent) == (3, False)
    assert PRIVATE in node.silo.tasks.halted(peers.study)
    assert [kind for kind, _ in node.charges()] == ["reserve"]


def test_a_runner_that_fails_twice_is_asked_again_under_the_charge_it_has(node, peers):
    begin_study(node, peers)
    node.runner.problems = [RunnerFailed(PRIVATE)] * (MAX_RUNNER_FAILURES - 1)
    run_round(node, peers, 0)
    assert node.hub.logged(StudyWithdrawn) == []
    assert (node.runner.runs, [kind for kind, _ in node.charges()]) == (3, ["reserve", "settle"])


def test_a_source_that_does_not_answer_costs_no_study_and_is_asked_again_after_a_while(node, peers):
    begin_study(node, peers)
    node.runner.problems = [SourceUnreachable(PRIVATE)] * 2
    peers.open(0)
    for _ in range(3):
        node.go()
    assert (node.hub.logged(StudyWithdrawn), node.silo.tasks.halted(peers.study)) == ([], None)
    assert (node.runner.runs, sum(PRIVATE in note.what for note in node.notes)) == (1, 1)
    node.now += SOURCE_PAUSE
    node.go()
    node.now += SOURCE_PAUSE
    node.go()
    assert (node.runner.runs, PRIVATE in node.sent, len(node.hub.logged(RoundReady))) == (3, False, 1)
    assert [kind for kind, _ in node.charges()] == ["reserve", "settle"]


def test_a_held_study_waits_and_an_owners_yes_then_accepts_it_once(make_node, small):
    node = make_node(limits=LIMITS.replace('accept = "within-limits"', 'accept = "ask"'))
    peers = Peers(node.hub, small)
    peers.propose()
    node.go()
    assert (node.hub.posted, node.notes) == ([], [])
    node.silo.tasks.answer(peers.study, "accept", "the ethics board agreed")
    node.go()
    node.restart()
    node.go()
    (body,) = node.hub.logged(StudyAccepted)
    assert body.decided_by == "owner"


def test_a_held_study_that_the_owner_refuses_is_refused_in_the_owners_words(make_node, small):
    node = make_node(limits=LIMITS.replace('accept = "within-limits"', 'accept = "ask"'))
    peers = Peers(node.hub, small)
    peers.propose()
    node.silo.tasks.answer(peers.study, "refuse", "we need the consent forms first")
    node.go()
    assert (told(node).rule, told(node).decided_by) == ("owner", "owner")
    assert told(node).reason == "we need the consent forms first"


def test_an_owners_yes_lifts_no_rule_that_refuses(node, peers):
    node.write(limits=LIMITS.replace("medical-research", "fraud-detection"))
    node.silo.tasks.answer(peers.study, "accept", "please")
    peers.propose()
    node.go()
    assert told(node).rule == "purpose-allowed"


def test_a_study_that_no_admin_approved_is_not_answered(node, peers):
    peers.propose(approved=False)
    node.silo.tasks.answer(peers.study, "accept", "yes")
    node.go()
    assert node.hub.posted == []


def test_leaving_a_study_that_was_accepted_is_said_once_and_nothing_is_computed_after(node, peers):
    begin_study(node, peers)
    node.silo.tasks.answer(peers.study, "refuse", "the owner changed their mind")
    peers.open(0)
    node.go()
    node.restart()
    node.go()
    (left,) = node.hub.logged(StudyWithdrawn)
    assert left.reason == "the owner changed their mind"
    assert [signed.body.type for signed in node.hub.posted].count("study-withdrawn") == 1
    assert (node.hub.logged(StudyRefused), node.runner.runs, node.charges()) == ([], 0, [])


def test_a_model_that_the_owner_refuses_to_release_is_not_released_by_the_limits(node, peers):
    run_study(node, peers)
    node.silo.tasks.answer(peers.study, "refuse", "the model is not good enough")
    peers.request()
    node.go()
    assert node.hub.logged(ReleaseApproved) == []


def test_a_held_release_waits_for_the_owners_yes(make_node, small):
    node = make_node(limits=LIMITS.replace('release = "within-limits"', 'release = "ask"'))
    peers = Peers(node.hub, small)
    run_study(node, peers)
    peers.request()
    node.go()
    assert node.hub.logged(ReleaseApproved) == []
    node.silo.tasks.answer(peers.study, "release", "")
    node.go()
    assert len(node.hub.logged(ReleaseApproved)) == 1


@pytest.mark.parametrize("broken", ["permit (", "", '@id("a") permit (principal, action, resource);'])
def test_with_a_policy_that_cannot_be_used_nothing_happens_until_it_is_mended(node, peers, broken):
    (node.folder / "policy.cedar").write_text(broken)
    peers.propose()
    node.go()
    assert (node.hub.posted, node.agent.work()) == ([], False)
    node.write()
    node.go()
    assert len(node.hub.logged(StudyAccepted)) == 1


def test_a_policy_that_breaks_in_the_middle_of_a_study_stops_charging_and_computing_until_mended(node, peers):
    begin_study(node, peers)
    (node.folder / "limits.toml").write_text("max_epsilon = 'many'\n# End of the limits.\n")
    peers.open(0)
    node.go()
    assert (node.runner.runs, node.charges()) == (0, [])
    node.write()
    node.go()
    assert (node.runner.runs, node.silo.tasks.halted(peers.study)) == (1, None)


def test_a_dataset_registered_before_admission_is_published_when_the_hub_takes_it_and_once_only(node):
    dataset = node.silo.catalogue.get("heart")
    for problem in (HubRefused("not a member", 403), HubUnreachable("no answer")):
        node.hub.refusing = problem
        assert try_to_publish(node.silo, dataset) is False
    assert node.hub.posted == []
    node.hub.refusing = None
    assert try_to_publish(node.silo, dataset) is True
    node.go()
    node.restart()
    node.go()
    publish_pending(node.silo, Studies(node.silo.tasks.entries()).datasets)
    assert len(node.hub.posted) == 1
    assert [body.dataset for body in node.hub.logged(DatasetRegistered)] == ["heart"]


def test_a_running_agent_publishes_what_is_pending_once_and_outlives_a_hub_that_is_away_or_refuses(node):
    node.hub.refusing = HubRefused("not a member", 403)
    answers = iter([None, HubUnreachable("no answer"), None, None, None, Enough()])

    def polling():
        answer = next(answers)
        if answer is not None:
            node.hub.refusing = None
            raise answer

    node.hub.polling = polling
    pauses = []
    with pytest.raises(Enough):
        node.agent.run(Backoff(9, 1.0, 30.0, pauses.append, lambda: 1.0), Pulse(node.folder, node.silo.clock))
    assert pauses == [1.0, 2.0]
    assert len(node.hub.posted) == 1
    assert node.hub.waits == [0, 0, 0, 7, 7, 7]
