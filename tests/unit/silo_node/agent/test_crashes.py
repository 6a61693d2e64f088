"""A silo that dies behind every durable step it takes, and is started again on what it left."""

from collections import defaultdict
from contextlib import contextmanager

import numpy as np
import pytest

from protocol.accounting import epsilon_at
from protocol.rounds import charge_id, last_round
from protocol.study import study_cost
from protocol.study_statements import ReleaseApproved
from silo_node.agent import study_files
from silo_node.agent.study_files import StudyFiles
from silo_node.agent.tasks import Tasks
from silo_node.errors import HubUnreachable, RunnerFailed
from silo_node.journal.chain import Journal
from silo_node.ledger.sqlite import SqliteLedger
from tests.unit.silo_node.agent.peers import OTHERS, Peers, vector
from tests.unit.silo_node.agent.story import begin_study, run_round, run_study


class Crash(BaseException):
    """The power goes. Nothing in the product may catch it."""


class Mortal:
    """Drives a node that dies the first time it comes to a step of a phase, and starts it again each time."""

    def __init__(self, node, monkeypatch):
        self.node, self.hub, self.silo = node, node.hub, node.silo
        self.seen, self.phase, self.deaths = set(), 0, []
        node.hub.step = self.step
        node.parts = {
            "tasks": self.dying(Tasks, "advance", "say_once"),
            "files": self.dying(StudyFiles, "keep_update", "seal_once", "keep_state"),
            "journal": self.dying(Journal, "record"),
            "ledger": self.dying(SqliteLedger, "reserve", "settle"),
        }
        write, writing = study_files.write_private, study_files.writing_private

        def write_and_die(path, data):
            write(path, data)
            self.step(f"write {path.name}")

        @contextmanager
        def writing_and_die(path):
            with writing(path) as file:
                yield file
                self.step(f"write all but the name of {path.name}")
            self.step(f"write {path.name}")

        monkeypatch.setattr(study_files, "write_private", write_and_die)
        monkeypatch.setattr(study_files, "writing_private", writing_and_die)
        node.restart()

    def dying(self, kind, *methods):
        """``kind`` whose ``methods`` end in a step."""

        def wrapped(name):
            def call(part, *given):
                done = getattr(kind, name)(part, *given)
                self.step(name if name != "record" else f"record {[*part.entries()][-1].event.what}")
                return done

            return call

        return type(kind.__name__, (kind,), {name: wrapped(name) for name in methods})

    def step(self, what):
        if (self.phase, what) not in self.seen:
            self.seen.add((self.phase, what))
            self.deaths.append(what)
            raise Crash(what)

    def go(self):
        self.phase += 1
        while True:
            try:
                self.node.go()
                return
            except Crash:
                self.node.restart()


def assert_said_in_one_version(hub):
    """Whatever was posted, however often, is one statement of a kind, round, attempt, epoch and recipient."""
    versions = defaultdict(set)
    for signed in hub.posted:
        body = signed.body
        names = ("type", "study", "round", "attempt", "epoch", "recipient", "dataset")
        place = [getattr(body, name, None) for name in names]
        versions[tuple(place)].add(signed.wire)
    assert {place for place, wires in versions.items() if len(wires) > 1} == set()


@pytest.mark.parametrize("first", ["alpha", "bravo"])
def test_a_silo_that_dies_behind_every_step_goes_through_the_study_as_if_it_had_not(node, peers, monkeypatch, first):
    mortal = Mortal(node, monkeypatch)
    run_study(mortal, peers, first)
    last = last_round(peers.contract)
    assert node.silo.files.state(peers.study, last) == peers.states[last]
    peers.request()
    mortal.go()
    (word,) = node.hub.logged(ReleaseApproved)
    peers.confirm(word.commitment)
    mortal.go()
    assert len(node.hub.blobs) == 1
    assert node.silo.files.state(peers.study, last) is None  # sealed for all: nothing of it is kept here
    names = [charge_id(peers.study, index) for index in range(last + 1)]
    assert node.charges() == [pair for name in names for pair in (("reserve", name), ("settle", name))]
    assert_said_in_one_version(node.hub)
    assert node.notes == [note for note in node.notes if note.kind == "decision"]
    for index in range(last + 1):
        assert len(node.runner.vectors[index]) > 1, "no crash fell between computing and keeping"
        plain = node.runner.vectors[index][-1]
        plain = plain + sum(vector(index, plain.size, name) for name in OTHERS)
        np.testing.assert_allclose(peers.totals[index], plain, rtol=0, atol=4 * peers.steps[index])
    everywhere = {"advance", "reserve", "settle", "say_once", "write ran", "write update", "write digests", "seal_once"}
    everywhere |= {"write all but the name of update"}
    everywhere |= {"post", "posted", "chunk", "chunk arrived", "record round-ready", "record upload-complete"}
    assert {step for step in everywhere if mortal.deaths.count(step) <= last} == set()
    states = [f"state-{index}" for index in range(last + 1)]
    written = {f"write {what}{name}" for what in ("", "all but the name of ") for name in states}
    assert {"write secret-1", *written} <= set(mortal.deaths)
    assert len(mortal.deaths) > 60


def test_a_chunk_that_is_sent_again_has_the_bytes_it_had(node, peers, monkeypatch):
    mortal = Mortal(node, monkeypatch)
    node.hub.claimed = lambda held: (None,) * len(held)
    begin_study(mortal, peers)
    run_round(mortal, peers, 0)
    (copies,) = node.hub.chunks[0, 1].values()
    assert len(copies) > 1
    assert len(set(copies)) == 1


def test_a_statement_whose_answer_was_lost_goes_out_again_with_the_same_bytes(node, peers):
    begin_study(node, peers)
    peers.open(0)
    fail = iter([HubUnreachable("cut off"), HubUnreachable("cut off")])

    def step(what):
        problem = next(fail, None) if what == "posted" else None
        if problem is not None:
            raise problem

    node.hub.step = step
    for _ in range(2):
        with pytest.raises(HubUnreachable):
            node.go()
        node.restart()
    node.go()
    assert_said_in_one_version(node.hub)
    assert (node.runner.runs, [kind for kind, _ in node.charges()]) == (1, ["reserve", "settle"])


def test_a_round_that_crashed_is_not_refused_for_the_charge_it_already_has(make_node, small):
    """A budget for exactly this study: to count a round's charge twice would be to halt for nothing."""
    cost, last = study_cost(small, "alpha", 4), last_round(small)
    node = make_node(epsilon=epsilon_at(cost, 0.001, 4) * 1.0001)
    peers = Peers(node.hub, small)
    begin_study(node, peers)
    for index in range(last):
        run_round(node, peers, index)
    node.runner.problems = [RunnerFailed("killed")]
    peers.open(last)
    node.go()
    assert node.silo.tasks.halted(peers.study) is None
    assert node.charges()[-2:] == [("reserve", charge_id(peers.study, last)), ("settle", charge_id(peers.study, last))]


def test_a_runner_that_fails_once_a_round_and_recovers_each_time_does_not_end_the_study(node, peers):
    begin_study(node, peers)
    for index in range(last_round(peers.contract) + 1):
        node.runner.problems = [RunnerFailed("killed")]
        run_round(node, peers, index)
        assert node.silo.tasks.halted(peers.study) is None
