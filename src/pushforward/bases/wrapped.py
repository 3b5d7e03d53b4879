"""Any distribution of PyTorch as a base."""

from __future__ import annotations

import abc
import importlib
import inspect
from typing import Any, cast

import torch
from torch import Tensor, nn

from pushforward.bases.base import Base, sampled_shape
from pushforward.errors import ArgumentError, InputTypeError
from pushforward.spec import Part
from pushforward.transforms.domains import Box, Domain, Everywhere, Shares

__all__ = ["Wrapped", "as_base"]

_SEVERAL = ("transforms", "parts", "tseq")  # arguments that are lists of transforms
_FORMS = ({"probs", "logits"}, {"covariance_matrix", "precision_matrix", "scale_tril"})


class _Held(nn.Module, abc.ABC):
    """The arguments of an object of PyTorch: tensors become buffers, wrapped objects modules."""

    def _hold(self, arguments: dict[str, Any]) -> None:
        self._constants: dict[str, Any] = {}
        self._keys = list(arguments)
        for key, value in arguments.items():
            if isinstance(value, Tensor):
                self.register_buffer(key, value.detach().clone())
            elif isinstance(value, _Held):
                self.add_module(key, value)
            elif key in _SEVERAL:
                self.add_module(key, nn.ModuleList(value))
            else:
                self._constants[key] = value

    def _values(self, checked: bool) -> dict[str, Any]:
        """The arguments as PyTorch takes them, from the buffers as they are now."""
        return {key: self._value(key, checked) for key in self._keys}

    def _value(self, key: str, checked: bool) -> Any:
        if key in self._constants:
            return self._constants[key]
        value: Any = getattr(self, key)
        if isinstance(value, nn.ModuleList):
            return [part.made(checked) for part in cast("list[_Held]", list(value))]
        return value.made(checked) if isinstance(value, _Held) else value

    @abc.abstractmethod
    def made(self, checked: bool = True) -> Any:
        """The object of PyTorch; ``checked``: whether it checks its arguments and values."""


class WrappedTransform(Part, _Held):
    """A transform of ``torch.distributions``, part of a ``Wrapped`` distribution.

    Args:
        name: name of the class in ``torch.distributions.transforms``.
        arguments: its constructor's arguments.
        turned: whether its inverse is meant.

    Raises:
        ArgumentError: a name that ``torch.distributions.transforms`` does not have.

    Source: none

    Example:
        >>> WrappedTransform("ExpTransform", {}).made()(torch.zeros(1))
        tensor([1.])
    """

    def __init__(self, name: str, arguments: dict[str, Any], turned: bool = False) -> None:
        super().__init__()
        self.name, self.turned = name, turned
        self._hold(arguments)
        self.made()

    def made(self, checked: bool = True) -> Any:
        """The transform."""
        from torch.distributions import transforms

        cls = _class_of(transforms, self.name, transforms.Transform)
        transform = cls(**self._values(checked))
        return transform.inv if self.turned else transform


class Wrapped(Base, _Held):
    """A ``torch.distributions`` distribution; its batch dimensions become the event.

    Its parameters are buffers here: they move, are saved and change dtype with the flow.

    Args:
        name: name of the class in ``torch.distributions``.
        arguments: its constructor's arguments; those that are distributions or transforms
            themselves are ``Wrapped`` and ``WrappedTransform``.

    Shapes:
        z: ``(*batch, *batch_shape, *event_shape)`` of the distribution;
        log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: a name that ``torch.distributions`` does not have, or a discrete one.

    Cost: what the distribution of PyTorch costs, which is built anew at each call.

    Source: none

    Example:
        >>> from torch.distributions import Laplace
        >>> as_base(Laplace(torch.zeros(3), torch.ones(3))).log_prob(torch.zeros(3))
        tensor(-2.0794)
    """

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.name = name
        self._hold(arguments)
        made = self.made()
        self.event_shape = tuple(made.batch_shape + made.event_shape)
        self._reinterpreted = len(made.batch_shape)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # that of the CPU alone, which fork_rng restores
            self.register_buffer("interior", made.sample())

    def made(self, checked: bool = True) -> Any:
        """The distribution, built from the buffers as they are now."""
        import torch.distributions

        cls = _class_of(torch.distributions, self.name, torch.distributions.Distribution)
        options = {} if checked else {"validate_args": False}
        return cls(**self._values(checked), **options)

    @property
    def support(self) -> Domain | None:
        """Where PyTorch says that it has mass: everywhere, in a box, or among shares.

        Not known are other constraints, and what PyTorch says of a density of angles (the whole
        line) and of densities that are transformed (where the last step alone ends).
        """
        from torch.distributions import Independent, TransformedDistribution, VonMises

        made = self.made(checked=False)
        told = made.support
        while isinstance(made, Independent):
            made = made.base_dist
        if isinstance(made, VonMises) or type(made) is TransformedDistribution:
            return None
        return _domain(getattr(told, "base_constraint", told), self.event_shape)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats, -inf outside the support."""
        if z.numel() == 0:  # constraints of PyTorch cannot check nothing
            return z.new_zeros(z.shape[: z.ndim - len(self.event_shape)])
        made = self.made(checked=False)
        inside = _supports(made, z)
        # outside the support some densities give nan: they are asked about a point inside
        safe = torch.where(_last(inside, z), z, self.get_buffer("interior"))
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
        made = self.made()
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


def _domain(constraint: Any, event: tuple[int, ...]) -> Domain | None:
    """A constraint of PyTorch on the numbers of an event, where there is a domain that says it."""
    from torch.distributions import constraints

    if constraint is constraints.real:
        return Everywhere(len(event))
    if len(event) != 1:
        return None
    if constraint is constraints.simplex:
        return Shares()
    low, high = (getattr(constraint, f"{end}_bound", None) for end in ("lower", "upper"))
    if low is None and high is None:
        return None
    a, b = (
        end if isinstance(end, Tensor) and end.ndim else float(end)
        for end in (-torch.inf if low is None else low, torch.inf if high is None else high)
    )
    return Box(a, b, closed=True)  # its draws may be the ends themselves


def _supports(made: Any, z: Any) -> Tensor:
    """Which events lie in the support, a mask without the dimensions of an event.

    What PyTorch calls the support of a transformed distribution is the codomain of its last
    transform alone: an exponential that is shifted would reach over the whole line. So z is taken
    back through every transform, and asked for at each.
    """
    from torch.distributions import Independent, TransformedDistribution

    batch = z.ndim - len(made.event_shape)
    support: Any = made.support
    if isinstance(made, Independent):
        return _each(_supports(made.base_dist, z), batch)
    inside = _each(support.check(z), batch)
    if isinstance(made, TransformedDistribution):
        with torch.no_grad():
            steps: Any = made.transforms
            for transform in reversed(steps):
                inside = inside & _each(transform.codomain.check(z), batch)
                z = transform.inv(z)
                inside = inside & _each(z.isfinite(), batch)
            inside = inside & _each(_supports(made.base_dist, z), batch)
    return inside


def _each(mask: Tensor, batch: int) -> Tensor:
    """A mask with one entry an event: all of an event's entries must be true."""
    return mask.flatten(batch).all(-1) if mask.ndim > batch else mask


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


def _class_of(module: Any, name: str, kind: type) -> Any:
    """A public class of PyTorch by its name: nothing else can be named in a model file."""
    cls = getattr(module, name) if isinstance(name, str) and name in module.__all__ else None
    if not isinstance(cls, type) or not issubclass(cls, kind):
        raise ArgumentError(f"Wrapped: {name!r} is no class of {module.__name__}.")
    return cls


def _wrap(distribution: Any, inner: bool = False) -> Wrapped:
    name = type(distribution).__name__
    if not inner and getattr(distribution.support, "is_discrete", False):
        raise ArgumentError(f"Flow: base is {name}, which is discrete; expected a continuous one.")
    _refuse_foreign(distribution, "torch.distributions")
    return Wrapped(name, _arguments(distribution))


def _refuse_foreign(made: Any, module: str) -> None:
    """A class of one's own, even of a name that PyTorch has, cannot be written down."""
    cls = type(made)
    if getattr(importlib.import_module(module), cls.__name__, None) is not cls:
        raise ArgumentError(
            f"Flow: base has {cls.__module__}.{cls.__qualname__}, which is no class of {module}; "
            f"write a base class for it."
        )


def _arguments(made: Any) -> dict[str, Any]:
    """The constructor's arguments of an object of PyTorch, read back from its attributes."""
    arguments: dict[str, Any] = {}
    for key, parameter in inspect.signature(type(made).__init__).parameters.items():
        if key in ("self", "validate_args", "cache_size") or _said_already(key, arguments):
            continue
        value = _argument(made, key)
        if value is not inspect.Parameter.empty:
            arguments[key] = value
        elif parameter.default is inspect.Parameter.empty:
            raise ArgumentError(
                f"Flow: base is {type(made).__name__}, whose argument {key!r} cannot be read "
                f"back; write a base class for it."
            )
    return arguments


def _said_already(key: str, arguments: dict[str, Any]) -> bool:
    """Whether an argument is another form of one already taken: of two forms PyTorch wants one."""
    return any(key in forms and forms & set(arguments) for forms in _FORMS)


def _argument(made: Any, key: str) -> Any:
    from torch.distributions import Distribution
    from torch.distributions.transforms import Transform

    told = {"tseq": "transforms"}.get(key, key)
    for attribute in (told, f"_{key}", key.removesuffix("_distribution"), "base_dist"):
        value = getattr(made, attribute, inspect.Parameter.empty)
        if isinstance(value, Distribution):
            return _wrap(value, inner=True)
        if isinstance(value, Transform):
            return _wrap_transform(value)
        if isinstance(value, list | tuple) and all(isinstance(v, Transform) for v in value):
            return [_wrap_transform(v) for v in value]
        if value is None or isinstance(value, Tensor | int | float | bool):
            return value
        if isinstance(value, list | tuple) and all(isinstance(v, int) for v in value):
            return tuple(value)
        if attribute == key and value is not inspect.Parameter.empty and not callable(value):
            break
    return inspect.Parameter.empty


def _wrap_transform(transform: Any) -> WrappedTransform:
    turned = type(transform).__name__ == "_InverseTransform"  # what transform.inv gives
    plain = transform.inv if turned else transform
    _refuse_foreign(plain, "torch.distributions.transforms")
    return WrappedTransform(type(plain).__name__, _arguments(plain), turned)
