"""Chunks, sums and sealed bundles: bytes by name, written once, in a folder or in S3 (obstore)."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore, from_url

from hub.errors import NotFound

PART_BYTES = 4 * 1024 * 1024


def upload_name(study: str, round: int, attempt: int, silo: str, position: int) -> str:
    return f"uploads/{study}/{round}/{attempt}/{silo}/{position}"


def sum_name(study: str, round: int, attempt: int, survivors: str, position: int) -> str:
    return f"sums/{study}/{round}/{attempt}/{survivors}/{position}"


def bundle_name(study: str, digest: str) -> str:
    return f"bundles/{study}/{digest}"


@dataclass(frozen=True, slots=True)
class Blobs:
    """`url` alone says where, so that a worker process opens the same place."""

    url: str
    store: ObjectStore

    @classmethod
    def at(cls, url: str) -> "Blobs":
        if not url.startswith("file://"):
            return cls(url, from_url(url))
        folder = Path(url.removeprefix("file://"))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(url, LocalStore(folder))

    def create(self, name: str, content: bytes | BinaryIO) -> bool:
        """Write a new object, all or nothing; False when the name is taken (then nothing is changed)."""
        try:
            obstore.put(self.store, name, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def store_large(self, name: str, content: BinaryIO) -> None:
        """Write an object whose name is its digest, in parts; the same name again means the same bytes."""
        obstore.put(self.store, name, content, chunk_size=PART_BYTES)

    def read(self, name: str) -> bytes:
        """Raises `NotFound`."""
        try:
            return bytes(obstore.get(self.store, name).bytes())
        except FileNotFoundError:
            raise NotFound("these bytes are not here, or not any more") from None

    def stream(self, name: str) -> Iterator[bytes]:
        """The object in parts. Raises `NotFound` before the first."""
        try:
            parts = obstore.get(self.store, name).stream(min_chunk_size=PART_BYTES)
        except FileNotFoundError:
            raise NotFound("these bytes are not here, or not any more") from None
        return (bytes(part) for part in parts)

    def delete_under(self, prefixes: Iterable[str]) -> None:
        """Delete every object below the prefixes; those already gone don't matter."""
        for prefix in prefixes:
            for batch in obstore.list(self.store, prefix=prefix):
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(self.store, [item["path"] for item in batch])
