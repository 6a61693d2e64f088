"""A profile tells the owner what the rows are, and how far they moved; a renewed dataset keeps its terms."""

from pathlib import Path

import pytest

from protocol import canonical
from protocol.training_study import DataRequirement
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.profile import CHANGED, SHIFTED, ColumnProfile, Profile, drift
from silo_node.dataset.registration import Registration
from silo_node.errors import DatasetRefused

NOW, LATER = "2026-11-22T03:29:00Z", "2026-12-01T00:00:00Z"


def column(*counts: int) -> ColumnProfile:
    return ColumnProfile(
        name="age", missing=0, clamped=0, minimum=0.0, maximum=1.0, mean=0.5, quantiles=(), counts=counts
    )


def test_a_profile_counts_and_measures_the_rows(catalogue: Catalogue, registration: Registration) -> None:
    catalogue.keys.make("patients")
    profile = Profile.model_validate_json(canonical.encode(catalogue.check(registration).profile))
    age, pressure, smoker, _ = profile.columns
    assert (age.name, age.clamped, age.minimum, age.maximum, age.mean) == ("age", 1, 18.0, 70.0, 48.0)
    assert age.quantiles[2] == 52.0
    assert (sum(age.counts), sum(pressure.counts), smoker.counts[0], smoker.counts[-1]) == (4, 4, 2, 2)
    assert "18" not in repr(profile)


def test_drift_is_the_population_stability_index() -> None:
    assert drift(column(50, 50), column(50, 50)) == 0.0
    # By hand: (.5 - .2512) log(.5 / .2512) + (.5 - .7488) log(.5 / .7488).
    assert drift(column(100, 100), column(50, 150)) == pytest.approx(0.2716, abs=1e-4)
    assert drift(column(1000, 0), column(0, 1000)) > CHANGED
    assert drift(column(1000, 1000), column(990, 1010)) < SHIFTED


def test_the_profile_at_registration_is_kept_for_the_owner_alone(
    catalogue: Catalogue, registration: Registration
) -> None:
    catalogue.add(registration, catalogue.check, NOW)
    kept = catalogue.profile_before("clinic")
    assert kept is not None
    assert Profile.model_validate_json(kept).rows == 4
    assert (catalogue.folder / "profiles" / "clinic.json").stat().st_mode & 0o777 == 0o600
    assert "profile" not in catalogue.get("clinic").model_dump()


def test_a_renewed_dataset_keeps_its_terms_and_is_read_again(
    catalogue: Catalogue, registration: Registration, requirement: DataRequirement, source: Path
) -> None:
    before = catalogue.add(registration, catalogue.check, NOW)
    source.write_text(source.read_text() + "w,p-5,1,33,0,120\n")
    with pytest.raises(DatasetRefused, match="dataset renew clinic"):
        catalogue.open("clinic", requirement, 0.34, "subject")
    after = catalogue.renew("clinic", catalogue.check, LATER)
    assert after.commitment != before.commitment
    unchanged = {"commitment", "renewed_at"}
    assert after.model_dump(exclude=unchanged) == before.model_dump(exclude=unchanged)
    assert after == catalogue.get("clinic")
    assert len(catalogue.open("clinic", requirement, 0.34, "subject").target) == 5


def test_a_source_that_is_refused_renews_nothing(
    catalogue: Catalogue, registration: Registration, source: Path
) -> None:
    before = catalogue.add(registration, catalogue.check, NOW)
    source.write_text("patient,age,pressure,smoker,ill\np,old,1,0,1\n")
    with pytest.raises(DatasetRefused, match="column age has a text"):
        catalogue.renew("clinic", catalogue.check, LATER)
    assert catalogue.get("clinic") == before


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.89])
def test_a_person_is_found_on_the_side_where_studies_have_them(
    share: float, catalogue: Catalogue, registration: Registration, requirement: DataRequirement
) -> None:
    catalogue.add(registration, catalogue.check, NOW)
    sides = catalogue.open("clinic", requirement, share, "subject").is_training
    found = [catalogue.find("clinic", f"p-{number}", share) for number in (1, 2, 3, 4)]
    assert found == ["trained" if side else "held out" for side in sides]
    catalogue.opt_outs.add("patients", ["p-1"], NOW)
    assert catalogue.find("clinic", "p-1", share) == found[0]
    assert catalogue.find("clinic", "p-9", share) == "absent"


def test_in_a_source_that_cannot_be_read_nobody_is_said_to_be_absent(
    catalogue: Catalogue, registration: Registration, source: Path
) -> None:
    catalogue.add(registration, catalogue.check, NOW)
    source.unlink()
    assert catalogue.find("clinic", "p-1", 0.5) == "unreadable"
