"""Optimisers: Muon for hidden matrices and convolutions, AdamW for the rest; averaged weights."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Coefficients of Muon's quintic Newton-Schulz step (Jordan et al., 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 3
_MATCH_ADAM = 0.2  # update's root mean square, as AdamW's (Liu et al., 2025, "Muon is scalable")


class Muon(torch.optim.Optimizer):
    """Step along the orthogonalised momentum of each parameter, kernels flattened to 2-D.

    torch.optim.Muon takes 2-D parameters only; here same-shaped ones go through in one batch.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        half: bool,
        momentum: float = 0.95,
        decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})
        self._type = torch.bfloat16 if half else torch.float32

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    direction = self._momentum(param, group["momentum"]).flatten(1)
                    alike[direction.shape[0], direction.shape[1]].append((param, direction))
            for (rows, columns), pairs in alike.items():
                directions = torch.stack([direction for _, direction in pairs])
                turned = orthogonalise(directions.to(self._type)).float()
                length = group["lr"] * _MATCH_ADAM * max(rows, columns) ** 0.5
                for (param, _), update in zip(pairs, turned, strict=True):
                    param.mul_(1 - group["lr"] * group["decay"])
                    param.add_(update.view_as(param), alpha=-length)

    def _momentum(self, param: Tensor, share: float) -> Tensor:
        """Update the running gradient and give Nesterov's look ahead of it."""
        state = self.state[param]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(param)
        running: Tensor = state["momentum"].lerp_(param.grad, 1 - share)
        ahead: Tensor = param.grad.lerp(running, share)  # type: ignore[union-attr]
        return ahead


def orthogonalise(matrices: Tensor) -> Tensor:
    """Push the singular values of `[n, rows, columns]` matrices towards 1."""
    a, b, c = _QUINTIC
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


class Optimisers:
    """Both optimisers of one model, stepped together."""

    def __init__(
        self,
        model: nn.Module,
        outer: tuple[str, ...],
        *,
        half: bool = False,
        adam_share: float = 1.0,
    ) -> None:
        """Split the trainable weights; those whose name starts with `outer` go to AdamW."""
        hidden: list[Tensor] = []
        rest: list[Tensor] = []
        for name, param in model.named_parameters():
            if param.requires_grad:
                inside = param.ndim >= 2 and not name.startswith(outer)
                (hidden if inside else rest).append(param)
        self._parameters = hidden + rest
        self._adam_share = adam_share
        self._muon = Muon(hidden, lr=0.0, half=half)
        self._adam = torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, rate: float) -> None:
        """Clip the gradients, take one step at `rate`, and clear them."""
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._muon.param_groups[0]["lr"] = rate
        self._adam.param_groups[0]["lr"] = rate * self._adam_share
        for optimiser in (self._muon, self._adam):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """Give both states."""
        return [self._muon.state_dict(), self._adam.state_dict()]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Take both states back."""
        for optimiser, state in zip((self._muon, self._adam), states, strict=True):
            optimiser.load_state_dict(state)


class Average:
    """An exponential moving average of a model's weights."""

    def __init__(self, model: nn.Module, keep: float) -> None:
        self._keep = keep
        self._names = [n for n, v in model.state_dict().items() if v.dtype.is_floating_point]
        self.weights = {n: model.state_dict()[n].detach().clone() for n in self._names}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move a little towards the model's weights, more so at the beginning."""
        keep = min(self._keep, step / (step + 30))
        now = model.state_dict()
        torch._foreach_lerp_(
            [self.weights[name] for name in self._names],
            [now[name] for name in self._names],
            1 - keep,
        )

    def load_into(self, model: nn.Module) -> None:
        """Give the averaged weights to a model of the same form."""
        model.load_state_dict(self.weights, strict=False)
