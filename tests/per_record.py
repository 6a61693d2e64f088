"""Each record's gradient by another way than the product's: torch's vmap of grad over a functional call."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import binary_cross_entropy_with_logits


def per_record(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    """Gradients (n, p) of the logistic loss by the parameters that aren't frozen, in the model's order."""
    trained = {name: one.detach() for name, one in model.named_parameters() if one.requires_grad}
    frozen = {name: one.detach() for name, one in model.named_parameters() if not one.requires_grad}

    def loss(parameters: dict[str, Tensor], record: Tensor, wanted: Tensor) -> Tensor:
        logits = functional_call(model, {**parameters, **frozen}, (record[None],))
        return binary_cross_entropy_with_logits(logits[0, 0], wanted)

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(trained, inputs, target)
    return torch.cat([gradients[name].reshape(len(inputs), -1) for name in trained], dim=1)


def clipped_sum(gradients: Tensor, clip: float) -> Tensor:
    """The sum (p,) of gradients (n, p), each clipped to L2 norm ``clip``."""
    norms = gradients.norm(dim=1, keepdim=True)
    return (gradients * (clip / norms).clamp(max=1.0)).sum(0)


def flat(sums: list[Tensor]) -> Tensor:
    """Tensors as one vector."""
    return torch.cat([total.reshape(-1) for total in sums])
