"""Blobs in an S3 bucket, through obstore. The bucket must keep the promise of `If-None-Match: *`."""

import contextlib
import tomllib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from hub.config.secret_files import require_private
from hub.errors import NotFound, SetupRefused

READ_BYTES = 4 * 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
"""S3 takes no parts below 5 MiB, except the last."""
PARTS_AT_ONCE = 2
RETRY: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
CREDENTIAL_FIELDS = {"access_key_id", "secret_access_key"}


class S3Blobs:
    """`url` is s3://BUCKET/PREFIX. Without an endpoint it is the provider's own of `region`.

    Without a file of credentials they are those of the process: its environment, or its machine's role.
    """

    def __init__(self, url: str, endpoint: str, region: str, credentials: Path | None) -> None:
        given: dict[str, Any] = {} if credentials is None else read_credentials(credentials)
        if endpoint:
            # A server of one's own has its buckets in the path, not in the host's name.
            given |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        if region:
            given["region"] = region
        options: Any = {"allow_http": endpoint.startswith("http://")}
        self._store = S3Store.from_url(url, client_options=options, retry_config=RETRY, **given)

    def create(self, name: str, content: bytes) -> bool:
        """Write a new object, all or nothing; False when the name is taken (then nothing is changed)."""
        try:
            obstore.put(self._store, name, content, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def store_large(self, name: str, content: BinaryIO) -> None:
        """Write an object whose name is its digest, in parts; the same name again means the same bytes."""
        obstore.put(self._store, name, content, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def read(self, name: str) -> bytes:
        """Raises `NotFound`."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            raise NotFound("these bytes are not here, or not any more") from None

    def stream(self, name: str) -> Iterator[bytes]:
        """The object in parts. Raises `NotFound` before the first."""
        try:
            parts = obstore.get(self._store, name).stream(min_chunk_size=READ_BYTES)
        except FileNotFoundError:
            raise NotFound("these bytes are not here, or not any more") from None
        return (bytes(part) for part in parts)

    def delete_under(self, prefixes: Iterable[str]) -> None:
        """Delete every object below the prefixes; those already gone don't matter."""
        for prefix in prefixes:
            for batch in obstore.list(self._store, prefix=prefix):
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(self._store, [item["path"] for item in batch])

    def tidy(self) -> None:
        """Nothing: an object that wasn't written whole isn't there. Let the bucket expire broken uploads in parts."""


def read_credentials(path: Path) -> dict[str, str]:
    """`access_key_id` and `secret_access_key` from a TOML file of mode 0600. Raises `SetupRefused`."""
    if not path.is_file():
        raise SetupRefused(f"{path}: s3_credentials names no file")
    require_private(path, 0o600)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise SetupRefused(f"{path} is not TOML") from None
    if set(found) != CREDENTIAL_FIELDS or not all(isinstance(value, str) and value for value in found.values()):
        raise SetupRefused(f"{path}: give access_key_id and secret_access_key, and nothing else")
    return found
