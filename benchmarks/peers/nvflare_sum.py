"""NVFlare's own classes for homomorphic encryption, without its network: provisioning, filters, aggregator, FOBS.

The update is one variable, as long as the vector. A silo's `HEModelEncryptor` makes what FOBS writes to its file; the
hub reads it, `HEInTimeAccumulateWeightedAggregator` averages; a silo's `HEModelDecryptor` opens the average, which
times the number of silos is the sum. Runs under an interpreter where `pip install "nvflare[HE]"` was done.
"""

# mypy: disable-error-code="import-not-found"

import time
from typing import Any, Final

import numpy as np
import tenseal as ts
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.decomposers import common_decomposers
from nvflare.app_opt.he.intime_accumulate_model_aggregator import HEInTimeAccumulateWeightedAggregator
from nvflare.app_opt.he.model_decryptor import HEModelDecryptor
from nvflare.app_opt.he.model_encryptor import HEModelEncryptor
from nvflare.fuel.utils import fobs
from nvflare.lighter.impl.he import HEBuilder

from benchmarks.peers.roles import Figures, Task, largest_error, peak_mb, run_script, silo_values

_VARIABLE: Final = "update"


def keys(task: Task) -> Figures:
    """The contexts that NVFlare's provisioning writes."""
    builder = HEBuilder()
    builder.initialize(None, None)
    (task.folder / "silo.context").write_bytes(builder.get_serialized_context(is_client=True))
    return {}


def seal(task: Task) -> Figures:
    """One silo: its update through the encrypting filter, written by FOBS."""
    values, circumstances = silo_values(task.values, task.number), _circumstances(task.number)
    encryptor = HEModelEncryptor()
    encryptor.tenseal_context, encryptor.encrypt_layers = _context(task), [True]
    _register()
    started = time.perf_counter()
    update = DXO(DataKind.WEIGHT_DIFF, data={_VARIABLE: values}, meta={MetaKey.NUM_STEPS_CURRENT_ROUND: 1})
    sealed = encryptor.process_dxo(update, Shareable(), circumstances).to_shareable()
    sealed.set_peer_props({ReservedKey.IDENTITY_NAME: f"silo-{task.number}"})
    sealed.add_cookie(AppConstants.CONTRIBUTION_ROUND, 0)
    size = (task.folder / f"silo-{task.number}").write_bytes(fobs.dumps(sealed))
    return {"seconds": time.perf_counter() - started, "bytes": size}


def add(task: Task) -> Figures:
    """The hub: every silo's update read by FOBS and accepted, then the average."""
    circumstances = _circumstances(0)
    aggregator = HEInTimeAccumulateWeightedAggregator(expected_data_kind=DataKind.WEIGHT_DIFF)
    aggregator.handle_event(EventType.START_RUN, circumstances)
    _register()
    started = time.perf_counter()
    for number in range(task.silos):
        update = fobs.loads((task.folder / f"silo-{number}").read_bytes())
        if not aggregator.accept(update, circumstances):
            raise RuntimeError(f"silo-{number}: the aggregator refused its update")
        del update
    size = (task.folder / "sum").write_bytes(fobs.dumps(aggregator.aggregate(circumstances)))
    return {"seconds": time.perf_counter() - started, "bytes": size}


def open_sum(task: Task) -> Figures:
    """One silo: the average through the decrypting filter, then compared with the sum of the floats."""
    circumstances, decryptor = _circumstances(task.number), HEModelDecryptor()
    decryptor.tenseal_context = _context(task)
    _register()
    started = time.perf_counter()
    average = fobs.loads((task.folder / "sum").read_bytes())
    opened = decryptor.process_dxo(from_shareable(average), average, circumstances)
    sums = np.asarray(opened.data[_VARIABLE]) * task.silos
    seconds, peak = time.perf_counter() - started, peak_mb()
    return {"seconds": seconds, "peak_mb": peak, "error": largest_error(sums, task.silos)}


def _circumstances(number: int) -> Any:
    """The context object that NVFlare's filters are called with."""
    circumstances, other = FLContext(), FLContext()
    other.set_prop(ReservedKey.IDENTITY_NAME, f"silo-{number}", private=False, sticky=False)
    circumstances.set_peer_context(other)
    circumstances.set_prop(AppConstants.CURRENT_ROUND, 0, private=True, sticky=False)
    return circumstances


def _context(task: Task) -> Any:
    return ts.context_from((task.folder / "silo.context").read_bytes())


def _register() -> None:
    flare_decomposers.register()
    common_decomposers.register()


if __name__ == "__main__":
    run_script({"keys": keys, "seal": seal, "add": add, "open": open_sum})
