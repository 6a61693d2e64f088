"""A dataset's profile as it was kept at the registration or the last renewal: no source is read for a page."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.profile import QUANTILES, ColumnProfile, Profile
from silo_node.dataset.registration import Dataset


@dataclass(frozen=True, slots=True)
class Figures:
    """A column of numbers: shares of its values in percent, and figures from the minimum to the mean, as texts."""

    name: str
    missing: str
    clamped: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """A column of categories: how many rows have each."""

    name: str
    missing: str
    counts: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class ProfileView:
    """``problem``: why there is nothing to show; ``at`` when it was read."""

    at: str
    rows: int = 0
    left_out: int = 0
    numbers: tuple[Figures, ...] = ()
    categories: tuple[Tally, ...] = ()
    problem: str = ""


def profile_view(catalogue: Catalogue, dataset: Dataset) -> ProfileView:
    """For the owner's eyes only: nothing of it is noised."""
    at, kept = dataset.renewed_at or dataset.added_at, catalogue.profile_before(dataset.name)
    if kept is None:
        return ProfileView(at, problem="No profile was kept: the dataset was registered before there were profiles.")
    try:
        profile = Profile.model_validate_json(kept)
    except ValidationError:
        return ProfileView(at, problem="The profile that was kept is damaged on this disk.")
    labels = {column.name: column.categories for column in dataset.declared.columns if column.categories is not None}
    return ProfileView(
        at,
        profile.rows,
        profile.left_out,
        tuple(_figures(one, profile) for one in profile.columns if one.name not in labels),
        tuple(_tally(one, profile, labels) for one in profile.columns if one.name in labels),
    )


def _figures(column: ColumnProfile, profile: Profile) -> Figures:
    quantiles = column.quantiles or (None,) * len(QUANTILES)
    numbers = (column.minimum, *quantiles, column.maximum, column.mean)
    texts = tuple("" if one is None else f"{one:g}" for one in numbers)
    return Figures(column.name, _share(column.missing, _read(profile)), _share(column.clamped, _read(profile)), texts)


def _tally(column: ColumnProfile, profile: Profile, labels: Mapping[str, tuple[str, ...]]) -> Tally:
    counts = zip(labels[column.name], column.counts, strict=False)
    shares = tuple((label, count, _share(count, profile.rows)) for label, count in counts)
    return Tally(column.name, _share(column.missing, _read(profile)), shares)


def _read(profile: Profile) -> int:
    """Gaps are counted in every row that was read, also in those that are left out afterwards."""
    return profile.rows + profile.left_out


def _share(count: int, rows: int) -> str:
    return f"{100 * count / max(1, rows):.1f} %"
