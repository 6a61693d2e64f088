"""The shape of a contract's model and where its training starts, without torch: the agent needs both.

A parameter vector holds, layer after layer from the inputs on, the weights row by row (outputs, inputs) and then
the biases.
"""

import hashlib
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from protocol.training_study import TrainingContract

Floats = NDArray[np.float64]

_INITIAL: Final = b"consortia/initial/v1\x00"
_RUN: Final = 1 << 16


def widths(contract: TrainingContract) -> tuple[int, ...]:
    """Values into each layer, and out of the last: (features, hidden..., 1)."""
    hidden = contract.model.hidden if contract.model.family == "mlp" else ()
    return (len(contract.data.features), *hidden, 1)


def initial_runs(contract: TrainingContract, study: str) -> Iterator[Floats]:
    """Where training starts, the same bits at every silo: runs, in order, of the parameters (p,) float64.

    Logistic regression starts at zero. An MLP's weights are uniform in [-b, b) with b = sqrt(6 / inputs) (He et
    al., "Delving Deep into Rectifiers", 2015), its biases zero: AES-256 in counter mode under
    SHA-256("consortia/initial/v1" NUL study), 8 bytes a weight, the top 53 bits of each little-endian word k
    giving k 2^-52 - 1. Only integer operations and elementwise IEEE arithmetic: no library's generator decides.
    """
    key = hashlib.sha256(_INITIAL + bytes.fromhex(study)).digest()
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    for inputs, outputs in pairwise(widths(contract)):
        weights = inputs * outputs
        for at in range(0, weights, _RUN):
            run = min(_RUN, weights - at)
            if contract.model.family == "logistic":
                yield np.zeros(run)
                continue
            words = np.frombuffer(stream.update(bytes(8 * run)), "<u8") >> np.uint64(11)
            yield (words.astype(np.float64) * 2.0**-52 - 1.0) * math.sqrt(6.0 / inputs)
        yield np.zeros(outputs)
