"""Breaks of the transforms between supports, most of them alike in both directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from tests.breaking import Break, replaced

from pushforward import Flow
from pushforward import transforms as T
from pushforward.flows import flow as flow_module
from pushforward.transforms import compose
from pushforward.transforms.domains import Angles, Box, Directions, Everywhere, PartOf, Shares
from pushforward.transforms.support import interp

OWN = ("tests/transforms/test_support.py", "tests/transforms/test_domains.py")
LAWS = tuple(f"tests/transforms/test_{name}.py" for name in ("laws", "extremes", "gradients"))
FITS = ("tests/flows/test_supports.py",)


def breaks() -> Iterator[Break]:
    """Every break of this family."""
    for family, name, apply in (
        ("Sigmoid", "the width forgotten in logdet", _width_forgotten),
        ("Sigmoid", "measured from the lower end alone", _from_below),
        ("Sigmoid", "ends that are not pulled in", _not_pulled_in),
        ("Tanh", "a factor of the slope forgotten", _tanh_factor),
        ("Exp", "overflow", _exp_overflows),
        ("Softplus", "the other tail's logdet", _softplus_tail),
        ("NormalCDF", "no digits in the lower tail", _no_lower_tail),
        ("NormalCDF", "the constant forgotten", _no_constant),
        ("Interval", "ends excluded", _ends_excluded),
        ("Simplex", "not centred", _not_centred),
        ("Simplex", "the last share forgotten in logdet", _last_share),
        ("Simplex", "rests by subtraction", _rests_subtracted),
        ("Circle", "wrapped to another period", _other_period),
        ("Circle", "both ends", _both_ends),
        ("Sphere", "a length forgotten in logdet", _one_length),
        ("Sphere", "sine and cosine exchanged", _turned_angle),
        ("Sphere", "nan at the poles", _bare_poles),
        ("Interp", "arithmetic means for slopes", _arithmetic),
        ("Interp", "tails with a kink", _kinked),
        ("Interp", "the neighbouring bin", _next_bin),
        ("Interp", "empty bins", _empty_bins),
        ("Columns", "the columns in another order", _columns_turned),
    ):
        yield Break(family, name, apply, (*OWN, *LAWS), _KEYS[family])
    for family, name, apply in (
        ("Box", "nothing outside", lambda: _nothing_outside(Box)),
        ("Box", "nan pulled in", _nan_pulled_in),
        ("Box", "everything fits", lambda: _fits(Box)),
        ("Shares", "nothing outside", lambda: _nothing_outside(Shares)),
        ("Directions", "nothing outside", lambda: _nothing_outside(Directions)),
        ("Angles", "everything fits", lambda: _fits(Angles)),
        ("PartOf", "the whole", _whole),
        ("Shares", "coordinates for directions", lambda: _identity(Shares)),
        ("Directions", "directions too long", _too_long),
    ):
        yield Break(family, name, apply, (*OWN, *FITS), "support")
    for family, name, apply in (
        ("Compose", "misfits taken", lambda: setattr(compose, "refuse_misfits", _silent)),
        ("Compose", "reached everywhere", _reached_everywhere),
        ("Inverse", "ends not exchanged", _ends_kept),
        ("Flow", "lost mass taken", lambda: setattr(flow_module, "refuse_lost_mass", _silent)),
        ("Flow", "data outside taken", lambda: setattr(flow_module, "refuse_outside", _silent)),
        ("Flow", "its base's support for its own", _base_support),
    ):
        yield Break(family, name, apply, FITS, "realnvp")


_KEYS = {
    "Sigmoid": "support-sigmoid",
    "Tanh": "support-tanh",
    "Exp": "support-exp",
    "Softplus": "support-softplus",
    "NormalCDF": "support-normal-cdf",
    "Interval": "support-interval",
    "Simplex": "support-simplex",
    "Circle": "support-circle",
    "Sphere": "support-sphere",
    "Interp": "support-interp",
    "Columns": "support-columns",
}


def _silent(*_: object) -> None:
    """Refuse nothing."""


def _steps(cls: type, change: Callable) -> None:
    """Change ``(self, x, z, logdet)`` of both directions, x being the data end of the two."""
    there, back = cls._there, cls._back

    def changed_there(self, x):
        z, logdet = there(self, x)
        return z, logdet + change(self, x)

    def changed_back(self, z):
        x, logdet = back(self, z)
        return x, logdet - change(self, x)

    cls._there, cls._back = changed_there, changed_back


def _width_forgotten() -> None:
    _steps(T.Sigmoid, lambda self, x: -(self.high - self.low).log())


def _from_below() -> None:
    old = T.Sigmoid._there
    T.Sigmoid._there = lambda self, x: (
        self.low + (self.high - self.low) * torch.sigmoid(x),
        old(self, x)[1],
    )


def _not_pulled_in() -> None:
    def move(self, function, x, source, target):
        z, logdet = function(source.pull_in(x))
        return z, torch.where(source.outside(x), -math.inf, logdet.sum(-1))

    T.Sigmoid._move = move


def _tanh_factor() -> None:
    _steps(T.Tanh, lambda self, x: -math.log(2.0))


def _exp_overflows() -> None:
    T.Exp._there = lambda self, x: (x.exp(), x)


def _softplus_tail() -> None:
    logsigmoid = torch.nn.functional.logsigmoid
    _steps(T.Softplus, lambda self, x: logsigmoid(-x) - logsigmoid(x))


def _no_lower_tail() -> None:
    old = T.NormalCDF._there
    T.NormalCDF._there = lambda self, x: (torch.special.ndtr(x), old(self, x)[1])


def _no_constant() -> None:
    _steps(T.NormalCDF, lambda self, x: 0.5 * math.log(2.0 * math.pi))


def _ends_excluded() -> None:
    T.Interval.domain = property(lambda self: Box(self.low, self.high))
    T.Interval.codomain = property(lambda self: Box(self.to_low, self.to_high))


def _not_centred() -> None:
    def build(old):
        def built(self, features):
            old(self, features)
            self.offset.zero_()

        return built

    replaced(T.Simplex, "__init__", build)


def _last_share() -> None:
    _steps(T.Simplex, lambda self, x: x[..., -1].log())


def _rests_subtracted() -> None:
    def there(self, x):
        rest = 1.0 - x.cumsum(-1)[..., :-1]
        return x[..., :-1].log() - rest.log() + self.offset, -x.log().sum(-1)

    T.Simplex._there = there


def _other_period() -> None:
    def there(self, x):
        return torch.fmod(x, self.period), x.new_zeros(x.shape[:-1])

    T.Circle._there = T.Circle._back = there


def _both_ends() -> None:
    def there(self, x):
        z = x - self.period * torch.round(x / self.period)
        return z, x.new_zeros(x.shape[:-1])

    T.Circle._there = T.Circle._back = there


def _one_length() -> None:
    _steps(T.Sphere, lambda self, x: x[..., :3].norm(dim=-1).log())


def _turned_angle() -> None:
    there, back = T.Sphere._there, T.Sphere._back
    swap = lambda x: torch.cat((x[..., 1:2], x[..., :1], x[..., 2:]), -1)
    T.Sphere._there = lambda self, x: there(self, swap(x))

    def turned(self, z):
        x, logdet = back(self, z)
        return swap(x), logdet

    T.Sphere._back = turned


def _bare_poles() -> None:
    def there(self, x):
        lengths = x.square().cumsum(-1)[..., 1:].sqrt()
        angle = torch.atan2(x[..., 1:2], x[..., :1])
        heights = x[..., 2:] / lengths[..., 1:]
        return torch.cat((angle, heights), -1), -lengths[..., 1:-1].log().sum(-1)

    T.Sphere._there = there


def _arithmetic() -> None:
    def bins(self):
        height = self.values.diff(dim=-1)
        inner = 0.5 * (height[:, :-1] + height[:, 1:])
        slopes = torch.cat((height[:, :1], inner, height[:, -1:]), -1)
        ends = (slopes[:, :-1] / height, slopes[:, 1:] / height)
        return torch.stack((self.values[:, :-1], height, *ends), -1)

    T.Interp._bins_of_table = bins


def _kinked() -> None:
    replaced(
        T.Interp, "_rates", lambda old: lambda self, *args: tuple(2.0 * r for r in old(self, *args))
    )


def _next_bin() -> None:
    replaced(interp, "_search", lambda old: lambda left, z: (old(left, z) + 1) % left.shape[-1])


def _empty_bins() -> None:
    interp._FLOOR = 1e-9


def _columns_turned() -> None:
    old = T.Columns._forward

    def forward(self, x, context):
        z, logdet = old(self, x, context)
        return z.roll(1, -1), logdet

    back = T.Columns._inverse
    T.Columns._forward = forward
    T.Columns._inverse = lambda self, z, context: back(self, z.roll(-1, -1), context)


# ---------------------------------------------------------------- domains


def _nothing_outside(cls: type) -> None:
    cls.outside = lambda self, x: torch.zeros(x.shape[:-1], dtype=torch.bool)


def _nan_pulled_in() -> None:
    replaced(Box, "pull_in", lambda old: lambda self, x: old(self, x.nan_to_num(0.5)))


def _fits(cls: type) -> None:
    cls.holds = lambda self, other: True


def _whole() -> None:
    PartOf.holds = lambda self, other: self.whole.holds(other)


def _identity(cls: type) -> None:
    cls.tangent = lambda self, x: torch.eye(len(x), len(x) - 1, dtype=x.dtype)


def _too_long() -> None:
    replaced(Directions, "tangent", lambda old: lambda self, x: 2.0 * old(self, x))


def _reached_everywhere() -> None:
    T.Compose.codomain = property(lambda self: self._all()[-1].codomain)


def _ends_kept() -> None:
    T.Inverse.domain = property(lambda self: self.transform.domain)
    T.Inverse.codomain = property(lambda self: self.transform.codomain)


def _base_support() -> None:
    Flow.support = property(lambda self: Everywhere())
