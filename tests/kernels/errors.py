"""How wrong results are, beside those of the plain path."""

import torch
from torch import Tensor

from pushforward import kernels


def results(apply, inputs):
    """Values and log-derivatives, and the gradients of each, of all inputs."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    outputs = apply(*leaves)
    found = list(outputs)
    for i, output in enumerate(outputs):
        if output.requires_grad:
            generator = torch.Generator().manual_seed(i)
            up = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            up = torch.where(output.isfinite(), up.to(output), 0.0)
            found += torch.autograd.grad(
                output, leaves, up, retain_graph=True, allow_unused=True, materialize_grads=True
            )
    return [t.detach() for t in found]


def plain(apply, inputs):
    with kernels.disabled():
        return results(apply, inputs)


def error(got: Tensor, truth: Tensor) -> Tensor:
    """Of each number, beside its size; what is not finite must be the same."""
    finite = truth.isfinite()
    assert bool((got.double()[~finite] == truth[~finite]).all())
    return ((got.double() - truth).abs() / (1.0 + truth.abs()))[finite]


def how_much_worse(ours: Tensor, theirs: Tensor) -> list[float]:
    """Ratios of errors: in the mean, and of all but one number in a hundred and in a thousand.

    Errors have heavy tails (slopes of a spline go down to 1/1000): of two methods equally good the
    very largest error differs by chance. Below a few roundings the last digit is a matter of luck.
    """
    pairs = [(float(ours.mean()), float(theirs.mean()))]
    for share in (0.99, 0.999):
        place = int(share * ours.numel())
        if ours.numel() - place >= 50:  # errors beyond it
            mine, plains = (float(e.flatten().kthvalue(place).values) for e in (ours, theirs))
            pairs.append((mine, plains))
    return [mine / max(plains, 2 * torch.finfo(torch.float32).eps) for mine, plains in pairs]
