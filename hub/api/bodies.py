"""Reading request bodies: bounded while they arrive, never after."""

import hashlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from hub.errors import BadRequest, TooLarge


def bounded(limit: int) -> Callable[[Request], Awaitable[bytes]]:
    """A dependency that gives the body, of at most `limit` bytes. Raises `TooLarge` at the first byte above."""

    async def read(request: Request) -> bytes:
        _check_length(request, limit)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > limit:
                raise TooLarge(f"the body has more than {limit} bytes, the most that is taken here")
        return bytes(body)

    return read


async def to_file(request: Request, folder: Path, limit: int, digest: str) -> tuple[BinaryIO, int]:
    """The body in an unnamed file, and its length. Raises `TooLarge`, or `BadRequest` for another SHA-256."""
    _check_length(request, limit)
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    size, found = 0, hashlib.sha256()
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise TooLarge(f"the body has more than {limit} bytes, the most that is taken here")
            found.update(part)
            await run_in_threadpool(file.write, part)
        if found.hexdigest() != digest or size == 0:
            raise BadRequest("the bytes that arrived don't have the SHA-256 in the path; send them again")
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file, size


def _check_length(request: Request, limit: int) -> None:
    stated = request.headers.get("content-length", "0")
    if not stated.isdigit() or int(stated) > limit:
        raise TooLarge(f"Content-Length is {stated[:20]}, at most {limit} bytes are taken here")
