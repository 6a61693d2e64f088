"""A dataset whose source changed: committed to anew by its owner, on the record; what was accepted before halts."""

import hmac

from protocol.ids import timestamp
from protocol.study_statements import StudyAccepted
from silo_node.agent.newcomers import compare_persons
from silo_node.agent.opt_out_record import check_opt_outs
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.dataset.registration import Checked, Dataset, Registration
from silo_node.errors import StudyHalted


def renew_dataset(silo: Silo, name: str) -> Dataset:
    """Commits to what the source holds now, under the same terms. Raises ``DatasetRefused``; then nothing changed."""

    def check(asked: Registration) -> Checked:
        check_opt_outs(silo, asked.domain)
        checked = silo.runner.check(asked)
        compare_persons(silo, asked, checked)
        # Before the record: a dataset is never another than the journal says.
        silo.voice.note("decision", f"owner: renew dataset {name}, commitment {checked.commitment}", None)
        return checked

    return silo.catalogue.renew(name, check, timestamp(silo.clock()))


def check_still_accepted(silo: Silo, study: Study, dataset: Dataset) -> None:
    """Raises ``StudyHalted`` if the dataset was renewed since this silo accepted the study on what it held then."""
    said = silo.tasks.kept(f"{study.id}:accepted")
    if said is None or not isinstance(said.body, StudyAccepted):
        return
    if not hmac.compare_digest(said.body.dataset_commitment, dataset.commitment):
        raise StudyHalted(
            f"dataset {dataset.name} was renewed on {dataset.renewed_at}, after this study was accepted on what it "
            "held before; the study would have to be proposed again"
        )
