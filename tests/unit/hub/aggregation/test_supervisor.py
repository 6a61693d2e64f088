"""Tries are counted, and executors replaced, by one supervisor: here over an executor that does as it is told."""

from concurrent.futures import BrokenExecutor, Future

import pytest

from hub.aggregation.aggregator import Added, Failed, Outcome, SumJob
from hub.aggregation.executor import WorkerDied
from hub.aggregation.supervisor import MAX_TRIES, Supervisor
from hub.store.blobs import BlobPlace
from protocol.sealing.parameters import Layout

JOB = SumJob(
    BlobPlace("file:///x"), "a" * 64, 0, 1, "5" * 64, 0, ("ada", "bern"), ("ada", "bern"), Layout.single(50, 3, 3)
)
DONE = Added("0" * 64, 1)


class Obedient:
    """Keeps the futures of its jobs for the test to fulfil; a broken one takes no more."""

    def __init__(self) -> None:
        self.under_way: list[Future[Outcome]] = []
        self.broken = self.closed = False

    def run(self, job: SumJob) -> "Future[Outcome]":
        if self.broken:
            raise BrokenExecutor
        self.under_way.append(Future())
        return self.under_way[-1]

    def close(self) -> None:
        self.closed = True

    def breaks(self) -> None:
        self.broken = True
        for future in [one for one in self.under_way if not one.done()]:
            future.set_exception(BrokenExecutor())


class Rig:
    def __init__(self) -> None:
        self.made: list[Obedient] = []
        self.told: list[Outcome] = []
        self.supervisor = Supervisor(self._new)
        self.supervisor.start(lambda job, outcome: self.told.append(outcome))

    def _new(self) -> Obedient:
        self.made.append(Obedient())
        return self.made[-1]

    @property
    def tries(self) -> list[Future[Outcome]]:
        return [future for executor in self.made for future in executor.under_way]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_dead_worker_costs_its_job_a_try_and_the_executor_stays(rig: Rig) -> None:
    rig.supervisor.submit(JOB)
    rig.tries[0].set_exception(WorkerDied())
    rig.tries[1].set_result(DONE)
    assert (len(rig.made), rig.told) == (1, [DONE])


def test_a_broken_executor_costs_each_of_its_jobs_a_try_and_is_replaced_once(rig: Rig) -> None:
    other = SumJob(**{**{name: getattr(JOB, name) for name in JOB.__slots__}, "position": 1})
    for job in (JOB, other):
        rig.supervisor.submit(job)
    rig.made[0].breaks()
    assert [len(executor.under_way) for executor in rig.made] == [2, 2]
    for future in rig.made[1].under_way:
        future.set_result(DONE)
    assert rig.told == [DONE, DONE]


def test_an_executor_that_broke_while_idle_is_replaced_at_the_next_job_which_keeps_its_tries(rig: Rig) -> None:
    rig.made[0].breaks()
    rig.supervisor.submit(JOB)
    for _ in range(MAX_TRIES - 1):
        rig.tries[-1].set_exception(WorkerDied())
    rig.tries[-1].set_result(DONE)
    assert (len(rig.made), rig.told) == (2, [DONE])


@pytest.mark.parametrize("death", [WorkerDied, BrokenExecutor])
def test_after_three_tries_a_job_has_failed_and_may_come_again(rig: Rig, death: type[Exception]) -> None:
    rig.supervisor.submit(JOB)
    for _ in range(MAX_TRIES):
        assert rig.told == []
        rig.tries[-1].set_exception(death())
    assert rig.told == [Failed(death.__name__)]
    assert len(rig.tries) == MAX_TRIES
    rig.supervisor.submit(JOB)
    rig.tries[-1].set_result(DONE)
    assert rig.told[1:] == [DONE]


def test_an_error_of_the_job_itself_is_not_tried_again(rig: Rig) -> None:
    rig.supervisor.submit(JOB)
    rig.tries[0].set_exception(OSError("no space left, said with a path that nobody outside should see"))
    assert rig.told == [Failed("OSError")]


def test_a_job_under_way_is_not_run_twice_and_after_its_end_it_may_be(rig: Rig) -> None:
    for _ in range(3):
        rig.supervisor.submit(JOB)
    assert len(rig.tries) == 1
    rig.tries[0].set_result(DONE)
    rig.supervisor.submit(JOB)
    assert len(rig.tries) == 2


def test_nothing_is_run_or_told_once_it_is_closed(rig: Rig) -> None:
    rig.supervisor.submit(JOB)
    rig.supervisor.close()
    assert rig.made[0].closed
    rig.made[0].breaks()
    rig.supervisor.submit(JOB)
    assert (len(rig.made), len(rig.tries), rig.told) == (1, 1, [])
