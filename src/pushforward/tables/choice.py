"""Which flow a table gets when its owner does not say."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pushforward.errors import ArgumentError
from pushforward.flows import Flow, find

__all__ = ["Choice", "build", "choose"]

_BLURRED = 5_000  # rows below which training blurs them
_AFFINE = 2  # affine layers before the splines
_SMALL = 500  # rows below which any flow is little better than a Gaussian


@dataclass(frozen=True)
class Choice:
    """A recipe with its arguments, and why.

    Attributes:
        recipe: name of the recipe.
        arguments: its arguments besides features and context.
        reason: sentences for the person who asked for ``auto``.
        smoothing: noise that rows get in training, see ``objectives.MaximumLikelihood``.
        warning: what the size of the table puts at risk, or "".
    """

    recipe: str
    arguments: dict[str, Any]
    reason: tuple[str, ...]
    smoothing: float = 0.0
    warning: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def choose(rows: int, features: int, context: int = 0) -> Choice:
    """Choose a flow from the size of a table.

    Args:
        rows: rows to train on.
        features: columns whose density is wanted.
        context: columns it is conditioned on.

    Example:
        >>> choose(10_000, 6).recipe
        'nsf'
    """
    layers, width, bins = _size(rows)
    arguments = {"layers": layers, "hidden": [width, width], "bins": bins, "affine": _AFFINE}
    on = f" given {context} context columns" if context else ""
    reason = [
        f"spline couplings (nsf) for {features} columns{on}: exact density and fast samples",
        f"{layers} layers of {width} hidden units with {bins} bins for {rows:,} rows, "
        f"after {_AFFINE} affine ones",
    ]
    smoothing = _smoothing(rows)
    if smoothing:
        reason.append(
            f"rows are blurred by {smoothing:.1%} of their spread while it learns, since a flow "
            f"could otherwise learn {rows:,} rows by heart"
        )
    warning = ""
    if rows < _SMALL:
        warning = (
            f"{rows} rows are few for a density of {features} columns: the flow is kept small, and "
            f"may be no better than a Gaussian; compare the two held-out figures."
        )
    return Choice("nsf", arguments, tuple(reason), smoothing, warning)


def _smoothing(rows: int) -> float:
    """Noise for small tables; for larger ones its blur costs more than it protects.

    On 2 000 rows of two moons it and the few bins of ``_size`` take KL(truth || flow) from 0.06
    to 0.03 nats.
    """
    return 0.0 if rows >= _BLURRED else round(min(0.61 * float(rows) ** (-1.0 / 3.0), 0.2), 3)


def _size(rows: int) -> tuple[int, int, int]:
    """Layers, hidden width and bins: what the rows can teach.

    Few rows are better spent on many layers of few bins, which make smoother densities: on 2 000
    rows of two moons 10 layers of 2 bins come to 0.03 nats, 6 layers of 8 bins to 0.05.
    """
    if rows < _SMALL:
        return 2, 16, 5
    if rows < 1_500:
        return 6, 32, 3
    if rows < 5_000:
        return 10, 64, 2
    return 6, 128, 8


def build(
    asked: str | Flow, settings: Mapping[str, Any], sizes: tuple[int, int, int], seed: int
) -> tuple[Flow, Choice]:
    """Build the flow a table was asked to get, and say what was chosen.

    Args:
        asked: ``auto``, the name of a recipe, or a flow.
        settings: arguments of the recipe that were asked for.
        sizes: rows, features and context columns.
        seed: seed of the weights.

    Raises:
        ArgumentError: the recipe does not take a setting.
    """
    rows, features, context = sizes
    if isinstance(asked, Flow):
        return asked, Choice("", {}, ("the flow that was given",))
    if asked == "auto":
        choice = choose(rows, features, context)
        if choice.warning:
            warnings.warn(choice.warning, UserWarning, stacklevel=3)
    else:
        choice = Choice(asked, {}, (f"{asked}, as asked for",))
    if settings:
        changed = ", ".join(f"{key}={_words(value)}" for key, value in settings.items())
        # the sentence on sizes speaks of those that were chosen
        reason = (choice.reason[0], f"{changed}, as asked for", *choice.reason[2:])
        choice = replace(choice, arguments={**choice.arguments, **settings}, reason=reason)
    try:
        flow = find(choice.recipe).build(features, context, seed=seed, **choice.arguments)
    except TypeError as error:
        raise ArgumentError(f"TableFlow: {choice.recipe} refuses a setting: {error}.") from None
    return flow, choice


def _words(value: Any) -> str:
    """A setting as it is typed: 16,16 rather than (16, 16)."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
