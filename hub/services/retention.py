"""How long ciphertext waits to be fetched: what was released has a lifetime here, and so has what came to nothing.

Released outputs of jobs and released models stay for ``keep_s`` after they were put. The code of a job stays as long as
a job may last; what no statement came to name, a day. The log keeps every statement, and with it each digest.
"""

from dataclasses import dataclass
from typing import Final

from hub.services.jobs import UNNAMED_S
from hub.services.recorder import Clock
from hub.store import bundles
from hub.store import jobs as job_store
from hub.store.blobs import Blobs, bundle_folder, job_blob_folder
from hub.store.database import Database
from protocol.job_record import LONGEST

CODE_S: Final = int(LONGEST.total_seconds()) + UNNAMED_S
"""No job that is open has older code: it is submitted within a day of being put, and lasts 90 days at most."""


@dataclass(frozen=True, slots=True)
class Retention:
    database: Database
    blobs: Blobs
    clock: Clock
    keep_s: int

    def sweep(self) -> int:
        """Delete what is over its time; returns how many blobs of jobs, and studies with models, that was.

        The bytes go before the rows: where this is killed, the next sweep finds them.
        """
        now = int(self.clock().timestamp())
        with self.database.reading() as connection:
            old_blobs = job_store.put_before(connection, now - self.keep_s, now - CODE_S, now - UNNAMED_S)
            old_studies = bundles.studies_before(connection, now - self.keep_s)
        self.blobs.delete_under(job_blob_folder(one.owner, one.digest) for one in old_blobs)
        self.blobs.delete_under(bundle_folder(study) for study in old_studies)
        with self.database.writing() as connection:
            for blob in old_blobs:
                job_store.forget_blob(connection, blob.owner, blob.digest)
            for study in old_studies:
                bundles.forget_study(connection, study)
        return len(old_blobs) + len(old_studies)
