"""One call of C2SP tlog-witness: a checkpoint out, with a proof that it grew; cosignature lines back."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from protocol.cosignature import MAX_LINE_BYTES

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 64 * MAX_LINE_BYTES
MAX_PROOF_LINES = 63
SIZE_TYPE = "text/x.tlog.size"


class WitnessFailed(Exception):
    """A witness that gave no cosignature; says why, in a sentence for the operator."""


class WitnessConflict(WitnessFailed):
    """It cosigned another size last: `size` is the one to prove growth from."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it cosigned {size} leaves last")
        self.size = size


@dataclass(frozen=True, slots=True)
class WitnessCall:
    """Calls over HTTP; `http` follows no redirects."""

    http: httpx.Client

    def add_checkpoint(self, url: str, old: int, proof: Sequence[bytes], note: str) -> list[str]:
        """The signature lines that the witness at `url` answers for `note`, nothing verified.

        proof: hashes from the tree of `old` leaves to the note's. Raises `WitnessConflict`, `WitnessFailed`.
        """
        if len(proof) > MAX_PROOF_LINES:
            raise WitnessFailed(f"a proof of {len(proof)} hashes, at most {MAX_PROOF_LINES} may be sent")
        lines = [f"old {old}", *(base64.b64encode(node).decode() for node in proof), ""]
        status, kind, body = self._post(url, "\n".join(lines) + "\n" + note)
        if status == httpx.codes.OK:
            return [line for line in body.split("\n") if line]
        if status == httpx.codes.CONFLICT and kind == SIZE_TYPE:
            raise WitnessConflict(_size(body))
        raise WitnessFailed(f"it answered {status}: {_shown(body)}")

    def _post(self, url: str, body: str) -> tuple[int, str, str]:
        place = url.rstrip("/") + "/add-checkpoint"
        try:
            with self.http.stream("POST", place, content=body.encode(), timeout=TIMEOUT_S) as answer:
                text = _bounded(answer).decode()
                return answer.status_code, answer.headers.get("content-type", "").partition(";")[0].strip(), text
        except httpx.HTTPError as error:
            raise WitnessFailed(f"it doesn't answer ({type(error).__name__})") from None
        except UnicodeDecodeError:
            raise WitnessFailed("its answer isn't text") from None


def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    for part in answer.iter_bytes():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise WitnessFailed(f"its answer has more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _size(body: str) -> int:
    text = body.removesuffix("\n")
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise WitnessFailed("it answered 409 without the size that it cosigned last")
    return int(text)


def _shown(body: str) -> str:
    return ascii(body[:200])
