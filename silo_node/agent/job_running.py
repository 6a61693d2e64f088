"""Running reviewed code: the owner's own command, never the node by itself.

What has to hold before a row is read, checked anew at every run:

1. The owner approved this very bundle, and the log says so; it is neither withdrawn, over nor after its end.
2. Who asked is a researcher under the charter in force, on a checkpoint that is fresh and witnessed.
3. The owner's policy and limits still have nothing against it, and nothing of it is on its way out.
4. The bundle on this disk has the approved digest, and there is a sandbox.

Then the journal is written, the granted columns are read by the process that reads rows, and the code runs in its box.
"""

from collections.abc import Callable
from pathlib import Path

from protocol.errors import Malformed
from protocol.ids import timestamp
from protocol.job_bundle import CodeBundle
from protocol.job_outputs import JobOutputs, outputs_of, read_outputs
from protocol.job_record import JobRecord
from silo_node.agent.job_case import approved, judge
from silo_node.agent.job_files import HeldRun
from silo_node.agent.job_steps import is_researcher
from silo_node.agent.opt_out_record import check_opt_outs
from silo_node.agent.silo import Silo
from silo_node.agent.studies import Studies
from silo_node.agent.witnessing import may_work
from silo_node.errors import JobRefused
from silo_node.policy.gate import Approval
from silo_node.private_files import private_folder, write_private, writing_private
from silo_node.runner.analysis_box import Analysis, Ended, Sandbox
from silo_node.runner.tasks import ExtractTask

NO_DOCUMENT = "the code gave no outputs that can be read: it ended its process, was cut off, or wrote to the pipe\n"


def run_job(silo: Silo, record: JobRecord, open_box: Callable[[], Sandbox]) -> HeldRun:
    """Runs an approved bundle once and holds what it gave. Raises ``JobRefused`` for what doesn't hold."""
    bundle = _cleared(silo, record)
    box = open_box()
    asked = record.asked
    with silo.files.jobs.running(record.job) as folder:
        columns = ", ".join(asked.columns)
        silo.voice.note(
            "decision", f"owner: run job {record.job[:12]} on {asked.dataset} ({columns}) in {box.level}", None
        )
        ended = box.run(_prepared(silo, record, bundle, folder))
    held = HeldRun(
        format="consortia-held-run/1",
        bundle=asked.bundle,
        outcome=ended.outcome,
        ended_at=timestamp(silo.clock()),
        sandbox=box.level,
        outputs=_outputs(ended),
    )
    silo.files.jobs.hold(record.job, held)
    silo.voice.note("decision", f"job {record.job[:12]} {held.outcome}; its outputs are held: {held.digest}", None)
    return held


def _cleared(silo: Silo, record: JobRecord) -> CodeBundle:
    job, follower = record.job[:12], silo.tasks.follower()
    if follower is None or record.stage != "accepted":
        raise JobRefused(f"job {job} is {record.stage}: it runs once it is approved, and the log says so")
    if not record.open_at(timestamp(silo.clock())):
        raise JobRefused(f"job {job} ended at {record.asked.expires_at}; it has to be submitted anew")
    if not approved(silo, record):
        raise JobRefused(f"job {job}: this silo's owner approved another bundle, or none")
    if not is_researcher(record, follower.in_force):
        raise JobRefused(f"job {job}: {record.researcher} is no researcher under the charter in force")
    stale = may_work(silo, follower.in_force)
    if stale is not None:
        raise JobRefused(f"job {job}: nothing is run now: {stale}")
    if silo.tasks.jobs.answered(record.job, "release") is not None:
        raise JobRefused(f"job {job}: its outputs are on their way; a later run could be taken for them")
    known = Studies(silo.tasks.entries()).lead_known(record.researcher, silo.name, besides="")
    decision = judge(silo, record, follower.in_force, known)
    if not isinstance(decision, Approval):
        raise JobRefused(f"job {job}: your policy does not allow it now, by {decision.rule}: {decision.reason}")
    bundle = silo.files.jobs.bundle(record.job, record.asked.bundle)
    if bundle is None:
        raise JobRefused(f"job {job}: its bundle is not on this disk; restore it, or ask for a new submission")
    return bundle


def _prepared(silo: Silo, record: JobRecord, bundle: CodeBundle, folder: Path) -> Analysis:
    """The bundle's files and the granted rows in ``folder``, which goes after the run."""
    code = private_folder(folder / "bundle")
    for path, text in bundle.texts.items():
        private_folder((code / path).parent)
        write_private(code / path, text.encode())
    rows = folder / "rows"
    asked = record.asked
    check_opt_outs(silo, silo.catalogue.get(asked.dataset).domain)
    with writing_private(rows) as file:
        left_out = silo.runner.extract(ExtractTask(asked.dataset, asked.columns), file)
    if left_out:
        what = f"job {record.job[:12]}: {left_out} rows of people who opted out were left out"
        silo.voice.note("decision", what, None)
    return Analysis(code, rows, asked.columns, asked.seconds, asked.memory_mib)


def _outputs(ended: Ended) -> JobOutputs:
    if ended.outcome == "timed-out":
        return outputs_of({"printed.txt": b"the code took longer than the job allows, and was ended\n"})
    try:
        return read_outputs(ended.document)
    except Malformed:
        return outputs_of({"printed.txt": NO_DOCUMENT.encode()})
