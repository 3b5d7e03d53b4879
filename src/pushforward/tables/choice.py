"""Which flow a table gets when its owner does not say."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pushforward.bases import GaussianMixture
from pushforward.bases.columns.telling import telling
from pushforward.errors import ArgumentError
from pushforward.flows import Flow
from pushforward.numerics.subset import some_of
from pushforward.objectives import Batch, MaximumLikelihood
from pushforward.spec import Part, Writer
from pushforward.tables.assemble import assemble
from pushforward.tables.groups import count_groups
from pushforward.tables.layout import Layout
from pushforward.tables.rows import Rows
from pushforward.tables.schema.column import Column
from pushforward.training.batches.rows import by_weight
from pushforward.training.defaults import default_batch_size

__all__ = ["Choice", "build", "choose", "likelihood"]

_BLURRED = 5_000  # rows below which training blurs them to the end
_COARSE_FIRST = 0.06  # noise at the start of training, where rows of few columns lie in groups
_BACKGROUND = 0.05  # share of the component that reaches between and beyond the groups
_GROUPED = 1_500  # rows from which groups are looked for
_COUNTED = 20_000  # rows that they are looked for in
_SMALL = 500  # rows below which any flow is little better than a Gaussian
_TINY = 150  # rows that a few large steps are enough for: half a second
_TOLD = 60  # such steps where mixed columns begin close to what can be learned
_FEW_COLUMNS = 3  # with so few networks are narrow, and steps cheap enough for more rows each
_DECAY = 1.0  # of the weights, where mixed columns come first: their networks are wide
_MANY = 1_000_000  # numbers of a table from which the flow beside mixed columns is a full one
_NAMED = 3  # columns in a sentence
_LEVELS = 1e5  # steps from end to end beyond which their size does not matter
_FASTER = 4e-3  # learning rate for such steps


@dataclass(frozen=True)
class Choice:
    """A recipe with its arguments, and why.

    Attributes:
        recipe: name of the recipe.
        arguments: its arguments besides features and context.
        reason: sentences for the person who asked for ``auto``.
        smoothing: noise that rows get at the start and at the end of training, see
            ``objectives.MaximumLikelihood``.
        groups: components of the base, 1 for a standard normal density.
        training: arguments of ``pf.fit`` besides the objective.
        warning: what the size of the table puts at risk, or "".
        head: arguments of ``bases.MixedColumns``, for columns that are not plain numbers.
    """

    recipe: str
    arguments: dict[str, Any]
    reason: tuple[str, ...]
    smoothing: tuple[float, float] = (0.0, 0.0)
    groups: int = 1
    training: dict[str, Any] = field(default_factory=dict)
    warning: str = ""
    head: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; parts among the arguments, such as a map, as descriptions."""
        arguments = {
            name: Writer().part(value) if isinstance(value, Part) else value
            for name, value in self.arguments.items()
        }
        return {**asdict(replace(self, arguments={})), "arguments": arguments}

    def beside(self, given: Collection[str]) -> Choice:
        """What is left of the choice beside arguments of ``pf.fit`` that somebody gave.

        Rows a step, learning rate and decay belong together: who gives one of them chooses all.
        """
        if not {"batch_size", "lr", "weight_decay", "optimizer"}.isdisjoint(given):
            return replace(self, training={})
        if not {"steps", "epochs"}.isdisjoint(given):
            return replace(self, training={k: v for k, v in self.training.items() if k != "steps"})
        return self

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Choice:
        """The choice that ``to_dict`` described, as far as training needs it."""
        known = {f.name for f in fields(cls)} - {"arguments"}
        kept = {name: value for name, value in values.items() if name in known}
        made = cls(**{**kept, "arguments": {}})
        first, last = made.smoothing
        return replace(made, smoothing=(first, last), reason=tuple(made.reason))


def choose(
    rows: int,
    features: int,
    context: int = 0,
    groups: int = 1,
    mixed: Sequence[Mapping[str, Any]] = (),
) -> Choice:
    """Choose a flow from the size of a table and the groups that its rows lie in.

    Args:
        rows: rows to train on.
        features: columns of plain numbers whose density is wanted.
        context: numbers it is conditioned on.
        groups: separate groups of rows.
        mixed: further columns, as ``bases.MixedColumns`` takes them.

    Example:
        >>> choose(10_000, 6).recipe
        'nsf'
    """
    size = _size(rows, features + context)
    training = _training(rows, features + context)
    if mixed:
        size = _beside_mixed(size, rows, features)
        training = {**training, "steps": _TOLD} if rows < _TINY else {"weight_decay": _DECAY}
    on = f" given {context} context columns" if context else ""
    reason = []
    if mixed:
        first = f"{len(mixed)} columns one after the other, exactly: {_kinds(mixed)}{on}"
        reason.append(first)
        on = " given those" if not context else " given those and the context"
    if features:
        reason += [
            f"spline couplings (nsf) for {_columns(features)}{on}: exact density and fast samples",
            f"{size['layers']} layers of {size['hidden'][0]} hidden units with {size['bins']} bins "
            f"for {rows:,} rows, after {size['affine']} affine ones",
        ]
    if groups > 1:
        reason.append(
            f"the rows lie in {groups} separate groups: the base has a normal component for each, "
            f"so that no density is needed between them"
        )
    first_noise, last = smoothing = _smoothing(rows, features + context, groups)
    if not features:
        smoothing = (0.0, 0.0)
    elif last:
        reason.append(
            f"rows are blurred by {last:.1%} of their spread while it learns, since a flow "
            f"could otherwise learn {rows:,} rows by heart"
        )
    elif first_noise:
        reason.append(
            f"rows are blurred by {first_noise:.0%} of their spread at first, and less and less: "
            f"the shapes of the groups are learned from coarse to fine"
        )
    warning = ""
    if rows < _SMALL:
        warning = (
            f"{rows} rows are few for a density of {features + len(mixed)} columns: the flow is "
            f"kept small, and may be no better than a Gaussian; compare the two held-out figures."
        )
    head = _head(rows) if mixed else {}
    return Choice("nsf", size, tuple(reason), smoothing, groups, training, warning, head)


def _beside_mixed(size: dict[str, Any], rows: int, features: int) -> dict[str, Any]:
    """Sizes for few numbers given mixed columns, which tell much of them already.

    On 18 000 rows of three numbers given five mixed columns 6 layers of 128 hidden units lie
    0.017 nats below the truth, 3 layers of 32 with 4 bins 0.011. On 500 000 of fifteen numbers
    given five categories 4 bins come as far as 8 (-23.613 and -23.618 nats after three passes), at
    three quarters of the cost of scoring; narrower or fewer layers fall behind by 0.1. But on
    10 000 pairs of muons, four numbers given two angles, 4 bins lose 0.04.
    """
    if rows * features >= _MANY:
        return {**size, "bins": min(4, size["bins"])}
    if features > _FEW_COLUMNS:
        return size
    return {"layers": 3, "hidden": [min(32, size["hidden"][0])] * 2, "bins": 4, "affine": 2}


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _kinds(mixed: Sequence[Mapping[str, Any]]) -> str:
    """What the mixed columns are, counted."""
    words = {"": "categories", "number": "numbers", "whole": "whole numbers", "angle": "angles"}
    counts = {kind: sum(one["value"] == kind for one in mixed) for kind in words}
    return ", ".join(f"{count} of {words[kind]}" for kind, count in counts.items() if count)


def _head(rows: int) -> dict[str, Any]:
    """Sizes of the network and mixtures for columns one after the other.

    Its units are shared among the columns, so that it is wide even for few rows; weights that decay
    keep it from learning those by heart. On 200 rows of invented households 128 units come within
    0.66 nats of the truth on average, 16 within 0.73.
    """
    components = 3 if rows < _SMALL else 5 if rows < _BLURRED else 8
    width = 64 if rows < _TINY else 128
    return {"hidden": [width, width], "components": components}


def _smoothing(rows: int, columns: int, groups: int) -> tuple[float, float]:
    """Noise at the start and at the end of training.

    Small tables keep it: on 2 000 rows of two moons it and the few bins of ``_size`` take
    KL(truth || flow) from 0.06 to 0.03 nats. For larger ones a blur that stays would cost more
    than it protects. One that vanishes takes 20 000 rows of the pinwheel, which has five groups,
    from 0.017 to 0.014; but sharp edges, as those of the checkerboard, come out less sharp, so
    only groups get it, whose base is smooth anyway. In more columns it does harm: on three bent
    groups in six columns 0.18 nats.
    """
    if rows >= _BLURRED:
        return (_COARSE_FIRST if groups > 1 and columns <= _FEW_COLUMNS else 0.0), 0.0
    size = round(min(0.61 * float(rows) ** (-1.0 / 3.0), 0.2), 3)
    return size, size


def _size(rows: int, columns: int) -> dict[str, Any]:
    """Arguments of the recipe: what the rows can teach.

    Few rows are better spent on many layers of few bins, which make smoother densities: on 2 000
    rows of two moons 10 layers of 2 bins come to 0.03 nats, 6 layers of 8 bins to 0.05.
    """
    layers, width, bins, affine = 6, 128, 8, 2
    if rows < _SMALL:
        layers, width, bins = 2, 16, 5
    elif rows < 1_500:
        layers, width, bins = 6, 32, 3
    elif rows < _BLURRED:
        layers, width, bins = 10, 64, 2
    elif columns <= _FEW_COLUMNS:
        width, affine = 64, 4
    return {"layers": layers, "hidden": [width, width], "bins": bins, "affine": affine}


def _training(rows: int, columns: int) -> dict[str, Any]:
    """Twice the rows a step where steps are cheap, and larger steps, since their noise is less.

    On three columns of 48 000 rows of a power meter that is worth 0.03 nats. A hundred rows are
    learned by heart in hundreds of steps, and no worse described after 80 large ones with weights
    that decay: five correlated normal columns -8.34 nats in place of -8.44, in half a second.
    """
    if rows < _TINY:
        return {"steps": 80, "lr": 1e-2, "weight_decay": _DECAY}
    if rows < _BLURRED or columns > _FEW_COLUMNS:
        return {}
    return {"batch_size": min(2 * default_batch_size(rows), 2048), "lr": _FASTER}


def build(
    asked: str | Flow,
    settings: Mapping[str, Any],
    rows: Rows,
    layouts: tuple[Layout, Layout | None],
    seed: int,
) -> tuple[Flow, Choice]:
    """Build the flow a table was asked to get, and say what was chosen.

    Args:
        asked: ``auto``, the name of a recipe, or a flow.
        settings: arguments of the recipe that were asked for.
        rows: what it is trained on.
        layouts: how features and context columns lie in the rows.
        seed: seed of the weights.

    Raises:
        ArgumentError: the recipe does not take a setting.
    """
    if isinstance(asked, Flow):
        return asked, Choice("", {}, ("the flow that was given",))
    features, given = layouts
    if asked == "auto":
        groups = 1 if "base" in settings or features.mixed else _groups(rows)
        choice = choose(
            len(rows.x), len(features.plain), given.width if given else 0, groups, features.mixed
        )
        if choice.warning:
            warnings.warn(choice.warning, UserWarning, stacklevel=3)
    else:
        head = _head(len(rows.x)) if features.mixed else {}
        choice = Choice(asked, {}, (f"{asked}, as asked for",), head=head)
    if settings:
        changed = ", ".join(f"{key}={_words(value)}" for key, value in settings.items())
        # the sentence on sizes speaks of those that were chosen
        sizes = 2 if features.mixed else 1
        reason = (*choice.reason[:sizes], f"{changed}, as asked for", *choice.reason[sizes + 1 :])
        choice = replace(choice, arguments={**choice.arguments, **settings}, reason=reason)
    if features.mixed:
        choice = _begun(choice, features, rows)
    try:
        arguments = {**_base(choice, len(features.plain)), **choice.arguments}
        flow = assemble(choice.recipe, arguments, choice.head, features, given, seed)
    except TypeError as error:
        raise ArgumentError(f"TableFlow: {choice.recipe} refuses a setting: {error}.") from None
    return flow, choice


def _begun(choice: Choice, features: Layout, rows: Rows) -> Choice:
    """The choice with mixed columns that begin at what an earlier one tells of them.

    Few rows leave networks little to learn such things from. On 200 customers with a town and its
    postal code it is worth 3 nats: these go together in 99 of 100 draws, before in a half.
    """
    x = by_weight(Batch(*rows.take(some_of(len(rows.x), _COUNTED)))).x
    after = telling(features.mixed, x[:, : features.head])
    names = [features.columns[i].name for i in features.places]
    told = [f"{names[i]} by {names[j]}" for i, j in enumerate(after) if j is not None]
    head = {**choice.head, "after": after}
    if not told:
        return replace(choice, head=head)
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    reason = f"training begins at what an earlier column tells: {', '.join(told[:_NAMED])}{more}"
    return replace(choice, head=head, reason=(*choice.reason, reason))


def likelihood(choice: Choice, features: Layout) -> MaximumLikelihood:
    """What the flow is trained by: noise reaches numbers that may be anything, and no codes."""
    types = [features.columns[i].type for i in features.plain]
    only = [features.head + k for k, type in enumerate(types) if type == "real"]
    everything = not features.mixed and len(only) == features.width
    steps = [_grain(features.columns[i]) for i in features.plain]
    return MaximumLikelihood(
        choice.smoothing,
        only=None if everything else only,
        jitter=[0.0] * features.head + steps,
    )


def _grain(column: Column) -> float:
    """The steps that a flow could learn as spikes; 0 where they are too fine for that."""
    step = column.step * column.stride
    if column.low is None or column.high is None or column.high - column.low > _LEVELS * step:
        return 0.0
    return step


def _groups(rows: Rows) -> int:
    """Groups that the base is to have components for.

    Few rows cannot tell a group from chance, and with a context the groups may move.
    """
    if rows.context is not None or len(rows.x) < _GROUPED:
        return 1
    some = rows.take(some_of(len(rows.x), _COUNTED))
    return count_groups(by_weight(Batch(*some)).x)


def _base(choice: Choice, features: int) -> dict[str, Any]:
    if choice.groups == 1:
        return {}
    return {"base": GaussianMixture(features, choice.groups, background=_BACKGROUND)}


def _words(value: Any) -> str:
    """A setting as it is typed: 16,16 rather than (16, 16)."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
