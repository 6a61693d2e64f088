"""Code that a researcher submits to silo alpha, and a box that runs none of it."""

import numpy as np

from protocol.canonical import digest
from protocol.job_bundle import bundle_of
from protocol.job_outputs import bundle_context, outputs_of
from protocol.job_statements import JobSubmitted
from protocol.sealing.envelope import seal_envelope
from silo_node.runner.analysis_box import Ended

CODE = b"def main(rows, out):\n    (out / 'mean').write_text(str(rows['age'].mean()))\n"
OUTPUTS = outputs_of({"mean": b"54.4"})


class FakeBox:
    """Ends as it is told, after it looked at what it was given."""

    level = "a box of the tests"

    def __init__(self, ended=None):
        self.ended, self.runs = ended or Ended("finished", OUTPUTS.encode()), []

    def run(self, analysis):
        rows = np.fromfile(analysis.rows, "<f8").reshape(-1, len(analysis.columns))
        self.runs.append((analysis.bundle / "analysis.py").read_bytes())
        assert rows.shape == (2, 2)
        if isinstance(self.ended, Exception):
            raise self.ended
        return self.ended


def extract_two(rows, left_out=0):
    rows.write(np.array([[30.0, 1.0], [70.0, 0.0]]).astype("<f8").tobytes())
    return left_out


def submissions(node):
    """Submits code to silo alpha, sealed for it; ``blob`` is what the hub keeps of it."""
    node.runner.extract = lambda task, rows: extract_two(rows)
    node.hub.put_job_blob = lambda data: (node.hub._stands_in_the_journal(data), node.hub.put_blob("", data))[1]
    node.hub.get_job_blob = lambda named, limit: node.hub.blobs[named]

    def submit(files=None, blob=None, context=None, **changes):
        bundle = bundle_of(files or {"analysis.py": CODE})
        named = changes.pop("bundle", bundle.digest)
        info = context or bundle_context(named, "rosa", "alpha")
        sealed = blob or seal_envelope(bundle.encode(), node.silo.identity.receiving.public, info)
        node.hub.blobs[digest(sealed)] = sealed
        fields = {
            "silo": "alpha", "name": "ages", "bundle": named, "blob": digest(sealed), "size": len(sealed),
            "dataset": "heart", "columns": ("age", "ill"), "purpose": "medical-research", "reason": "How old?",
            "seconds": 5, "memory_mib": 512, "expires_at": "2026-12-01T00:00:00Z",
        }  # fmt: skip
        signed = node.hub.say(JobSubmitted, "person:rosa", **{**fields, **changes})
        node.go()
        return signed.digest

    return submit
