"""Chunks, sums and sealed bundles: bytes by name, written once. What a store of them promises, and opening one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from hub.store.folder_blobs import FolderBlobs
from hub.store.s3_blobs import S3Blobs

FILE = "file://"


def upload_name(study: str, round: int, attempt: int, silo: str, position: int) -> str:
    return f"uploads/{study}/{round}/{attempt}/{silo}/{position}"


def sum_name(study: str, round: int, attempt: int, survivors: str, position: int) -> str:
    return f"sums/{study}/{round}/{attempt}/{survivors}/{position}"


def shares_name(study: str, round: int, attempt: int, silo: str) -> str:
    return f"shares/{study}/{round}/{attempt}/{silo}"


def bundle_name(study: str, digest: str) -> str:
    return f"{bundle_folder(study)}{digest}"


def bundle_folder(study: str) -> str:
    """With the slash at its end that `Blobs.delete_under` asks for."""
    return f"bundles/{study}/"


def job_blob_folder(owner: str, digest: str) -> str:
    """With the slash at its end that `Blobs.delete_under` asks for; the object is `sealed` in it."""
    return f"jobs/{owner.replace(':', '-')}/{digest}/"


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """Where blobs lie: all that a worker process needs to open the same store. Of the credentials, the path only."""

    url: str
    endpoint: str = ""
    region: str = ""
    credentials: Path | None = None


class Blobs(Protocol):
    """What `create` and `store_large` have returned from is durable; the same name never holds other bytes."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a new object, all or nothing; False when the name is taken (then nothing is changed)."""

    def store_large(self, name: str, content: BinaryIO) -> None:
        """Write an object whose name is its digest, never held whole in memory; the same again is no error."""

    def read(self, name: str) -> bytes:
        """The object. Raises `NotFound`."""

    def stream(self, name: str) -> Iterator[bytes]:
        """The object in parts of a few MiB. Raises `NotFound` before the first."""

    def delete_under(self, prefixes: Iterable[str]) -> None:
        """Delete every object below the prefixes, given with a slash at the end; those gone don't matter."""

    def tidy(self) -> None:
        """Delete what killed writers left behind."""


def open_blobs(place: BlobPlace) -> Blobs:
    """The store at `place`. Raises `SetupRefused` for credentials that are missing or readable by others."""
    if place.url.startswith(FILE):
        return FolderBlobs(Path(place.url.removeprefix(FILE)))
    return S3Blobs(place.url, place.endpoint, place.region, place.credentials)
