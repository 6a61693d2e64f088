"""Bugs that have been met in private training, as objects to put in an engine's place: each must be found."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from silo_node.training.engine_choice import EngineChoice
from silo_node.training.noise import NoiseSource
from silo_node.training.private import HardenedOptimizer
from silo_node.training.trainer import train_round


class Altered:
    """A sound source, but for one thing that ``noise`` or ``sample`` changes."""

    def __init__(
        self,
        sound: NoiseSource,
        noise: Callable[..., Any] | None = None,
        sample: Callable[..., Any] | None = None,
    ) -> None:
        self._sound, self._noise, self._sample = sound, noise, sample

    def add_gaussian(self, sums: Any, deviation: float, step: float) -> Any:
        if self._noise is None:
            return self._sound.add_gaussian(sums, deviation, step)
        return self._noise(self._sound, sums, deviation, step)

    def included(self, rows: int, rate: float) -> Any:
        return self._sound.included(rows, rate) if self._sample is None else self._sample(self._sound, rows, rate)


def ten_percent_low(sound: NoiseSource, sums: Any, deviation: float, step: float) -> Any:
    return sound.add_gaussian(sums, 0.9 * deviation, step)


def none_at_all(sound: NoiseSource, sums: Any, deviation: float, step: float) -> Any:
    return sums


class Unclipped:
    """Per-record gradients of a linear model, added as they are."""

    choice = EngineChoice("hooks", "planted")

    def __init__(self, model: Any, clip: float) -> None:
        self.model = model

    def __call__(self, inputs: Any, target: Any) -> list[Any]:
        self.model.zero_grad(set_to_none=True)
        watched = inputs.detach().requires_grad_()  # else torch warns where hooks hang on the model
        loss = binary_cross_entropy_with_logits(self.model(watched)[:, 0], target, reduction="sum")
        if len(inputs):
            loss.backward()
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.model.parameters()]


class NoiseOverBatch(HardenedOptimizer):
    """Noise of the charged deviation divided by the expected batch, on a sum that is divided by it again."""

    def add_noise(self) -> None:
        for parameter in self.params:
            deviation = self.noise_multiplier * self.max_grad_norm / self.expected_batch_size
            noised = self._noise.add_gaussian(parameter.summed_grad.numpy(), deviation, 2.0**-60)
            parameter.grad = torch.from_numpy(noised)


class NotClipping(HardenedOptimizer):
    def __init__(self, model: Any, **rest: Any) -> None:
        super().__init__(model, **rest)
        if rest.get("rows_per_unit", 1) == 1:
            self._sums = Unclipped(model, 0.0)


def trained_with(optimizer: type) -> Callable[..., Any]:
    """The product's own round of training, with another optimizer in it."""

    def train(*arguments: Any) -> Any:
        with patch("silo_node.training.trainer.HardenedOptimizer", optimizer):
            return train_round(*arguments)

    return train


def one_step_more(contract: Any, silo: str, rows: Any, state: Any, noise: Any) -> Any:
    training = contract.training.model_copy(update={"local_steps": contract.training.local_steps + 1})
    return train_round(contract.model_copy(update={"training": training}), silo, rows, state, noise)


def of_fixed_size(sound: NoiseSource, rows: int, rate: float) -> Any:
    mask = np.zeros(rows, dtype=np.bool_)
    mask[np.argsort(sound.add_gaussian(np.zeros(rows), 1.0, 2.0**-40))[: round(rows * rate)]] = True
    return mask


class Epochs:
    """Shuffled once, then one slice after the other: what is not accounted for."""

    def __init__(self) -> None:
        self._next: dict[tuple[int, float], list[Any]] = {}

    def __call__(self, sound: NoiseSource, rows: int, rate: float) -> Any:
        waiting = self._next.setdefault((rows, rate), [])
        if not waiting:
            order = np.argsort(sound.add_gaussian(np.zeros(rows), 1.0, 2.0**-40))
            waiting += np.array_split(order, round(1 / rate))
        mask = np.zeros(rows, dtype=np.bool_)
        mask[waiting.pop()] = True
        return mask


def all_by_one_coin(sound: NoiseSource, rows: int, rate: float) -> Any:
    return np.full(rows, sound.included(1, rate)[0])


def first_row_always(sound: NoiseSource, rows: int, rate: float) -> Any:
    mask = sound.included(rows, rate)
    mask[:1] = True
    return mask
