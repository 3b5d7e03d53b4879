"""Any distribution of PyTorch as a base."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from pushforward.bases.base import Base, sampled_shape
from pushforward.errors import ArgumentError, InputTypeError

__all__ = ["Wrapped", "as_base"]

_FORMS = ({"probs", "logits"}, {"covariance_matrix", "precision_matrix", "scale_tril"})


class Wrapped(Base):
    """A ``torch.distributions`` distribution; its batch dimensions become the event.

    Its parameters are buffers here: they move, are saved and change dtype with the flow.

    Args:
        name: name of the class in ``torch.distributions``.
        arguments: its constructor's arguments; a nested distribution is a pair of this kind.

    Shapes:
        z: ``(*batch, *batch_shape, *event_shape)`` of the distribution;
        log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: a name that ``torch.distributions`` does not have, or a discrete one.

    Source: none

    Example:
        >>> from torch.distributions import Laplace
        >>> as_base(Laplace(torch.zeros(3), torch.ones(3))).log_prob(torch.zeros(3))
        tensor(-2.0794)
    """

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.name = name
        self._constants: dict[str, Any] = {}
        for key, value in arguments.items():
            if isinstance(value, Tensor):
                self.register_buffer(key, value.detach().clone())
            elif isinstance(value, Wrapped):
                self.add_module(key, value)
            else:
                self._constants[key] = value
        self._keys = list(arguments)
        made = self.distribution()
        self.event_shape = tuple(made.batch_shape + made.event_shape)
        self._reinterpreted = len(made.batch_shape)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # that of the CPU alone, which fork_rng restores
            self.register_buffer("interior", made.sample())

    def distribution(self) -> Any:
        """The distribution, built from the buffers as they are now."""
        import torch.distributions

        known = self.name in torch.distributions.__all__
        cls: Any = getattr(torch.distributions, self.name) if known else None
        if not isinstance(cls, type) or not issubclass(cls, torch.distributions.Distribution):
            raise ArgumentError(f"Wrapped: {self.name!r} is no class of torch.distributions.")
        values = {key: self._value(key) for key in self._keys}
        return cls(**values)

    def _value(self, key: str) -> Any:
        if key in self._constants:
            return self._constants[key]
        value = getattr(self, key)
        return value.distribution() if isinstance(value, Wrapped) else value

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats, -inf outside the support."""
        if z.numel() == 0:  # constraints of PyTorch cannot check nothing
            return z.new_zeros(z.shape[: z.ndim - len(self.event_shape)])
        made = self.distribution()
        inside = made.support.check(z)  # a mask of its own event, without raising
        # outside the support some densities give nan: they are asked about a point inside
        safe = torch.where(_last(inside, z), z, self.get_buffer("interior"))
        made._validate_args = False
        value = torch.where(inside, made.log_prob(safe), -torch.inf)
        over = tuple(range(-self._reinterpreted, 0))
        return value.sum(over) if over else value

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, ``(*n, *context_batch, *event_shape)``; with gradients where PyTorch has them."""
        made = self.distribution()
        shape = torch.Size(sampled_shape(n, context, ()))
        if shape.numel() == 0:  # some distributions refuse to draw nothing
            return self.get_buffer("interior").new_zeros((*shape, *self.event_shape))
        draw = made.rsample if made.has_rsample else made.sample
        if generator is None:
            return draw(shape)  # type: ignore[no-any-return]
        # torch.distributions knows only the global state: lend it ours and give it back
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return draw(shape)  # type: ignore[no-any-return]


def _last(mask: Tensor, z: Tensor) -> Tensor:
    """A mask of events with the missing trailing dimensions of z."""
    return mask.reshape(*mask.shape, *(1 for _ in range(z.ndim - mask.ndim)))


def as_base(base: Any) -> Any:
    """A base as it is; a distribution of PyTorch wrapped as one.

    Raises:
        InputTypeError: neither.
        ArgumentError: a discrete distribution, or one that cannot be described.
    """
    import torch.distributions

    if isinstance(base, Base) or all(hasattr(base, name) for name in ("rsample_and_log_prob",)):
        return base
    if isinstance(base, torch.distributions.Distribution):
        return _wrap(base)
    raise InputTypeError(
        f"Flow: base is a {type(base).__name__}, expected a base, a Flow or a distribution of "
        f"torch.distributions."
    )


def _wrap(distribution: Any, inner: bool = False) -> Wrapped:
    name = type(distribution).__name__
    if not inner and getattr(distribution.support, "is_discrete", False):
        raise ArgumentError(f"Flow: base is {name}, which is discrete; expected a continuous one.")
    arguments: dict[str, Any] = {}
    for key, parameter in inspect.signature(type(distribution).__init__).parameters.items():
        if key in ("self", "validate_args") or _said_already(key, arguments):
            continue
        value = _argument(distribution, key)
        if value is not inspect.Parameter.empty:
            arguments[key] = value
        elif parameter.default is inspect.Parameter.empty:
            raise ArgumentError(
                f"Flow: base is {name}, whose argument {key!r} cannot be read back; "
                f"write a base class for it."
            )
    return Wrapped(name, arguments)


def _said_already(key: str, arguments: dict[str, Any]) -> bool:
    """Whether an argument is another form of one already taken: of two forms PyTorch wants one."""
    return any(key in forms and forms & set(arguments) for forms in _FORMS)


def _argument(distribution: Any, key: str) -> Any:
    import torch.distributions

    for attribute in (key, f"_{key}", key.removesuffix("_distribution"), "base_dist"):
        value = getattr(distribution, attribute, inspect.Parameter.empty)
        if isinstance(value, torch.distributions.Distribution):
            return _wrap(value, inner=True)
        if value is None or isinstance(value, Tensor | int | float | bool):
            return value
        if attribute == key and value is not inspect.Parameter.empty and not callable(value):
            break
    return inspect.Parameter.empty
