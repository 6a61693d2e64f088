"""Code that is submitted to the owner of the tests, and runs of it that a fake box makes up."""

from datetime import timedelta

from protocol.ids import timestamp
from protocol.job_outputs import outputs_of
from silo_node.agent.job_running import run_job
from silo_node.agent.jobs import find, jobs_of
from silo_node.runner.analysis_box import Ended
from tests.unit.silo_node.agent.job_rig import CODE, FakeBox, submissions

TRAP = CODE + "# \u202e } \u2066if\n".encode()


def code_for(node):
    """Submits ``code`` to the node, to end in a month."""
    ask, end = submissions(node), timestamp(node.now + timedelta(days=30))
    return lambda code=CODE, **changes: ask({"analysis.py": code}, expires_at=end, **changes)


def run(node, job, files):
    record, ended = find(jobs_of(node.silo), job), Ended("finished", outputs_of(files).encode())
    return run_job(node.silo, record, lambda: FakeBox(ended))
