"""What an analysis wrote, as one canonical document, and how it is sealed and committed to.

Outputs are exact: no noise was added, and no epsilon covers them. The one guard is the owner, who looks before they
are released; so they are few and small enough to be looked at: 32 files, 1 MiB in all.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from protocol import canonical
from protocol.errors import Malformed
from protocol.ids import Base64, Strict
from protocol.job_bundle import check_paths
from protocol.study import explain

MAX_FILES: Final = 32
MAX_BYTES: Final = 1024**2
SALT_BYTES: Final = 32


class OutputFile(Strict):
    path: Annotated[str, Field(min_length=1, max_length=300)]
    content: Base64


class JobOutputs(Strict):
    """The files of one run, sorted by path; paths by rule 2 of ``protocol.job_bundle``."""

    format: Literal["consortia-outputs/1"]
    files: Annotated[tuple[OutputFile, ...], Field(max_length=MAX_FILES)]

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        check_paths([one.path for one in self.files])
        size = sum(len(content) for content in self.contents.values())
        if size > MAX_BYTES:
            raise ValueError(f"files: {size} bytes in all, at most {MAX_BYTES}")
        return self

    @property
    def contents(self) -> dict[str, bytes]:
        """Content by path."""
        return {one.path: base64.b64decode(one.content, validate=True) for one in self.files}

    def encode(self) -> bytes:
        return canonical.encode(self.model_dump(mode="json"))


def outputs_of(files: Mapping[str, bytes]) -> JobOutputs:
    """The document of these files. Raises ``Malformed`` for names, sizes or numbers out of bounds."""
    listed = [{"path": path, "content": base64.b64encode(files[path]).decode()} for path in sorted(files)]
    return _checked(canonical.encode({"format": "consortia-outputs/1", "files": listed}))


def read_outputs(data: bytes) -> JobOutputs:
    """The outputs in canonical bytes. Raises ``Malformed`` for any others."""
    canonical.decode(data)
    return _checked(data)


def output_commitment(salt: bytes, outputs: bytes) -> str:
    """SHA-256 (hex) over a domain tag, the salt of 32 bytes and the document: it binds, and tells nothing."""
    if len(salt) != SALT_BYTES:
        raise Malformed(f"salt: {len(salt)} bytes, it must have {SALT_BYTES}")
    return hashlib.sha256(b"consortia/job-outputs/v1\x00" + salt + outputs).hexdigest()


def bundle_context(bundle: str, researcher: str, silo: str) -> bytes:
    """HPKE's ``info`` for a bundle sealed by ``researcher`` for ``silo``; ``bundle`` is its digest."""
    return _context("consortia/job-bundle/v1", bundle=bundle, sender=researcher, recipient=silo)


def outputs_context(job: str, silo: str, researcher: str) -> bytes:
    """HPKE's ``info`` for the outputs of ``job``, sealed by ``silo`` for ``researcher``."""
    return _context("consortia/job-outputs/v1", job=job, sender=silo, recipient=researcher)


def _context(name: str, **place: str) -> bytes:
    return canonical.encode({"context": name, **place})


def _checked(data: bytes) -> JobOutputs:
    try:
        return JobOutputs.model_validate_json(data)
    except ValidationError as error:
        raise Malformed(f"outputs refused: {explain(error)}") from None
    except ValueError:
        raise Malformed("outputs refused: a content is not base64") from None
