"""The engine beside stock Opacus (hooks, ghost clipping) and plain SGD: samples a second of whole steps.

    python -m benchmarks.engine --json

Each takes the same batch, in turns, in one process on one thread; medians of the process's own processor time. Ours is
what a round runs: double precision rows in, clipping, noise from AES, the step. The others run in single precision,
Opacus with noise of torch's generator, SGD with neither clipping nor noise. The models have the product's head, one
logit; "logistic-10" has ten, of which the loss reads the first: no model of the product, but the size that is often
quoted. Images are 28 by 28. "off" is how far our clipped sum is from that of Opacus' hooks in double precision, over
its norm.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.peers.stock_dp import Step, ghost_step, hooks_step, stock_sum
from silo_node.training.noise import SystemNoise
from silo_node.training.private import HardenedOptimizer, clipped_sums

CLIP, NOISE_MULTIPLIER = 1.0, 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """Samples a second, ratios of them, and how far our sum is from stock."""

    parameters: int
    ours: float
    hooks: float
    ghost: float
    sgd: float
    over_hooks: float
    over_ghost: float
    over_sgd: float
    off: float
    engine: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--models", nargs="*", choices=sorted(MODELS), default=list(MODELS))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    torch.set_num_threads(1)
    found = {name: measure(MODELS[name], asked.batch, asked.repeats) for name in asked.models}
    if asked.json:
        print(json.dumps({name: asdict(one) for name, one in found.items()}, indent=1))
        return
    table = Table("model", *(field for field in Found.__slots__ if field != "engine"))
    for name, one in found.items():
        values = (value for field, value in asdict(one).items() if field != "engine")
        table.add_row(name, *(f"{value:,.2f}" if value >= 0.01 else f"{value:.0e}" for value in values))
    Console(width=140).print(table)


def measure(model: Callable[[], nn.Sequential], batch: int, repeats: int) -> Found:
    """All four on one batch, in turns."""
    inputs, target = batch_for(model(), batch)
    private = HardenedOptimizer(
        model().double(),
        learning_rate=0.0,
        weight_decay=0.0,
        clip=CLIP,
        noise_multiplier=NOISE_MULTIPLIER,
        normaliser=batch,
        noise=SystemNoise(),
    )
    single = inputs.float(), target.float()
    steps: dict[str, tuple[Step, tuple[Tensor, Tensor]]] = {
        "ours": (private.private_step, (inputs, target)),
        "hooks": (hooks_step(model(), CLIP, NOISE_MULTIPLIER, batch), single),
        "ghost": (ghost_step(model(), CLIP, NOISE_MULTIPLIER, batch), single),
        "sgd": (sgd_step(model()), single),
    }
    took: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, (step, rows) in steps.items():
            seconds = _seconds(step, rows)
            if turn:  # The first turn warms up.
                took[name].append(seconds)
    rates = {name: batch / statistics.median(seconds) for name, seconds in took.items()}
    return Found(
        parameters=sum(parameter.numel() for parameter in model().parameters()),
        **rates,
        over_hooks=rates["ours"] / rates["hooks"],
        over_ghost=rates["ours"] / rates["ghost"],
        over_sgd=rates["ours"] / rates["sgd"],
        off=distance(model, inputs, target),
        engine=str(private.choice),
    )


def distance(model: Callable[[], nn.Sequential], inputs: Tensor, target: Tensor) -> float:
    """How far our clipped sum is from that of Opacus in double precision, relative."""
    expected = stock_sum(model().double(), CLIP, inputs, target)
    sums = clipped_sums(model().double(), CLIP)
    found = torch.cat([total.reshape(-1) for total in sums(inputs, target)])
    return float((found - expected).norm() / expected.norm())


def sgd_step(model: nn.Module) -> Step:
    """A step without privacy."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def step(inputs: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(model(inputs)[:, 0], target, reduction="sum").backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def batch_for(model: nn.Sequential, rows: int) -> tuple[Tensor, Tensor]:
    """Rows (n, inputs) and targets (n,), float64, the same every time."""
    draw = torch.Generator().manual_seed(1)
    width = next(layer.in_features for layer in model if isinstance(layer, nn.Linear))
    width = 784 if isinstance(model[0], nn.Unflatten) else width
    inputs = torch.randn(rows, width, generator=draw, dtype=torch.float64)
    return inputs, torch.randint(0, 2, (rows,), generator=draw).double()


def chain(*widths: int) -> Callable[[], nn.Sequential]:
    """Linear layers with ReLU between them."""

    def make() -> nn.Sequential:
        torch.manual_seed(2)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [*([nn.ReLU()] if layers else []), nn.Linear(before, after)]
        return nn.Sequential(*layers)

    return make


def strided() -> nn.Sequential:
    """The network of Opacus' own MNIST example (Papernot et al., 2021, with ReLU), one logit."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        *(nn.Conv2d(1, 16, 8, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(2, 1)),
        *(nn.Conv2d(16, 32, 4, stride=2), nn.ReLU(), nn.MaxPool2d(2, 1)),
        *(nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 1)),
    )


def normed() -> nn.Sequential:
    """Two convolutions of 3 by 3 with GroupNorm behind each, then two linear layers."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        *(nn.Conv2d(1, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(3136, 28), nn.ReLU(), nn.Linear(28, 1)),
    )


MODELS: dict[str, Callable[[], nn.Sequential]] = {
    "logistic": chain(784, 1),
    "logistic-10": chain(784, 10),
    "mlp-17k": chain(64, 128, 64, 1),
    "mlp-204k": chain(784, 260, 1),
    "cnn-26k": strided,
    "cnn-106k": normed,
}


def _seconds(step: Step, rows: tuple[Tensor, Tensor]) -> float:
    before = time.process_time()
    step(*rows)
    return time.process_time() - before


if __name__ == "__main__":
    main()
