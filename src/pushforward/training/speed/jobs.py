"""What is timed: a training step, densities, samples; and the networks of a flow alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pushforward.flows import Flow
from pushforward.maps import RationalQuadratic
from pushforward.transforms import Coupling

__all__ = [
    "Absent",
    "Subject",
    "densities",
    "networks_alone",
    "samples",
    "training_step",
    "unlike_the_identity",
]


@dataclass(frozen=True)
class Subject:
    """A call to be timed.

    Attributes:
        call: does the job once, to its end.
        parameters: numbers that are trained.
        note: what one has to know of it.
    """

    call: Callable[[], object]
    parameters: int
    note: str = ""


@dataclass(frozen=True)
class Absent:
    """What cannot be timed, and why.

    Attributes:
        reason: in words.
    """

    reason: str


def training_step(
    parameters: Iterable[nn.Parameter], log_prob: Callable[[Tensor], Tensor], x: Tensor
) -> Callable[[], object]:
    """A step of maximum likelihood with Adam, whatever library the density comes from.

    Args:
        parameters: what is trained.
        log_prob: log-density of rows, nats.
        x: the rows, ``(n, features)``.

    Returns:
        A call that takes one step: gradients away, mean, backward, Adam (fused).
    """
    optimizer = torch.optim.Adam(list(parameters), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss = -log_prob(x).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        _wait(x)

    return step


def densities(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """A call that gives the log-density of each row of x, without gradients."""

    def score() -> None:
        with torch.no_grad():
            log_prob(x)
        _wait(x)

    return score


def samples(sample: Callable[[int], Tensor], n: int) -> Callable[[], object]:
    """A call that draws n rows, without gradients."""

    def draw() -> None:
        with torch.no_grad():
            _wait(sample(n))

    return draw


def _wait(x: Tensor) -> None:
    """A GPU works on while Python goes on: the clock must not."""
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def unlike_the_identity(flow: Flow) -> Flow:
    """A flow whose networks say something: last layers that began at zero get PyTorch's weights.

    A flow that is still the identity could be inverted in one step that no trained flow has.
    """
    generator = torch.Generator().manual_seed(0)
    for parameter in flow.parameters():
        if parameter.ndim == 2 and not parameter.any():
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)
    return flow


def networks_alone(flow: Flow, hidden: Iterable[int], batch: int) -> Subject:
    """The networks of spline couplings without the flow around them: the limit of a training step.

    For each coupling a plain ``torch.nn.Sequential`` of Linear and ReLU, as wide as its network:
    it takes the kept features and gives ``raw_width`` numbers for each moved one. The call goes
    forward through each of them, on rows of its own, and backward with a gradient that is there,
    to the parameters and to the rows, as inside a flow. No optimizer.

    Args:
        flow: the flow.
        hidden: widths of the hidden layers.
        batch: rows.
    """
    networks, rows, gradients = [], [], []
    for step in flow.modules():
        if not (isinstance(step, Coupling) and isinstance(step.map, RationalQuadratic)):
            continue
        outputs = len(step.moved) * step.map.raw_width
        widths = [len(step.kept), *hidden, outputs]
        layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
        networks.append(nn.Sequential(*layers[:-1]))
        rows.append(torch.randn(batch, len(step.kept), requires_grad=True))
        gradients.append(torch.randn(batch, outputs) / batch)
    parameters = [one for network in networks for one in network.parameters()]

    def there_and_back() -> None:
        for leaf in (*parameters, *rows):
            leaf.grad = None
        for network, x, gradient in zip(networks, rows, gradients, strict=True):
            network(x).backward(gradient)

    return Subject(
        there_and_back,
        sum(one.numel() for one in parameters),
        "torch.nn.Sequential of the same widths, forward and backward, no optimizer",
    )
