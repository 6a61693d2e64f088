"""Where a contract's training starts, without torch: the agent needs it.

A parameter vector holds the trained tensors of the contract's plan in its order, each row by row.
"""

import hashlib
import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from protocol.graph_plan import Parameter
from protocol.model import starts_from_weights, weights_of
from protocol.training_study import TrainingContract

Floats = NDArray[np.float64]

_INITIAL: Final = b"consortia/initial/v1\x00"
_RUN: Final = 1 << 16


def initial_runs(contract: TrainingContract, study: str) -> Iterator[Floats]:
    """Where training starts, the same bits at every silo: runs, in order, of the parameters (p,) float64.

    Biases, logistic regression and what a node's ``start`` says start at zero, the weights of norms at one. Other
    weights are uniform in [-b, b) with b = sqrt(6 / inputs) (He et al., "Delving Deep into Rectifiers", 2015); of an
    embedding b = sqrt(3): AES-256 in counter mode under SHA-256("consortia/initial/v1" NUL study), 8 bytes a weight
    in the vector's order, the top 53 bits of each little-endian word k giving k 2^-52 - 1. Only integer operations
    and elementwise IEEE arithmetic: no library's generator decides. A contract may say that all starts from weights
    that it holds.
    """
    key = hashlib.sha256(_INITIAL + bytes.fromhex(study)).digest()
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    held = weights_of(contract.model) if starts_from_weights(contract.model) else None
    for parameter in contract.plan.trained:
        if held is not None:
            yield held.tensors[parameter.name].ravel()
            continue
        for at in range(0, parameter.length, _RUN):
            yield _run(parameter, min(_RUN, parameter.length - at), stream)


def _run(parameter: Parameter, count: int, stream: CipherContext) -> Floats:
    match parameter.start:
        case "zero":
            return np.zeros(count)
        case "one":
            return np.ones(count)
        case "uniform":
            words = np.frombuffer(stream.update(bytes(8 * count)), "<u8") >> np.uint64(11)
            drawn: Floats = (words.astype(np.float64) * 2.0**-52 - 1.0) * math.sqrt(6.0 / parameter.fan_in)
            return drawn
