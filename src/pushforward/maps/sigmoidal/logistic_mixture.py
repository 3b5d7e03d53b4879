"""The logit of a mixture of logistic distribution functions."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.kernels.elementwise import move
from pushforward.kernels.formula import Formula, formula_of
from pushforward.maps.numeric import Curve, NumericMap, check_counts, check_min_slope
from pushforward.maps.sigmoidal.mixture import add_line, bounded_exp, logit_of_mixture, spread

__all__ = ["LogisticMixture"]


class LogisticMixture(NumericMap):
    r"""Logit of the distribution function of a mixture of logistics, then scale and shift.

        z = exp(a) logit( sum_j pi_j sigmoid((x - mu_j) / s_j) ) + b

    Far out it is a line. At raw = 0 the components stand where z is x but for 0.06 at most, and the
    slope 1 but for 8 %: components that began equal would stay equal for ever.

    Args:
        components: number of logistics.
        min_slope: smallest slope of the logit; that share of x is mixed into it.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, 3 * components + 2)``

    Raises:
        ArgumentError: components below 1, ``min_slope`` outside (0, 1).

    Cost: forward three exponentials a component, exact. Inverse numeric: forward about ten times.

    Source: Ho et al. 2019, arXiv:1902.00275.
        Differs: the log-scales s and a are bounded smoothly by 3, so a tail stretches by 660 at
        most; a little of x is mixed in, so that the inverse holds between components far apart.

    Example:
        >>> mixture = LogisticMixture(components=4)
        >>> raw = torch.randn(3, 1, mixture.raw_width, generator=torch.manual_seed(0))
        >>> x = torch.tensor([[-1e6], [0.5], [20.0]])
        >>> back, _ = mixture.inverse(mixture(x, raw)[0], raw)
        >>> bool(torch.allclose(back, x))
        True
    """

    places: Tensor
    slopes: Tensor
    _made_of = ("raw_width", "components", "min_slope")

    def __init__(self, components: int = 8, min_slope: float = 1e-3) -> None:
        super().__init__()
        check_counts("LogisticMixture", components=components)
        self.components = components
        self.min_slope = check_min_slope("LogisticMixture", min_slope)
        self.raw_width = 3 * components + 2
        places, slopes = spread(components)
        self.register_buffer("places", places)
        self.register_buffer("slopes", slopes)
        if type(self) is LogisticMixture:
            self.formula = self._formula()

    def _formula(self) -> Formula | None:
        if self.raw_width != 3 * self.components + 2:
            return None
        return formula_of(
            "logistic mixture", self.raw_width, terms=self.components, min_slope=self.min_slope
        )

    @property
    def constants(self) -> tuple[Tensor | None, Tensor | None]:
        """Where the components begin."""
        return self.places, self.slopes

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h(x)`` and its log-derivative."""
        plain = super().forward
        return move(plain, self.formula, x, raw, *self.constants)

    def curve(self, raw: Tensor) -> Curve:
        """The mixture with its parameters read."""
        parts = raw[..., :-2].reshape(*raw.shape[:-1], 3, self.components)
        logits, means, log_scales = parts.unbind(-2)
        log_weight, mean = torch.log_softmax(logits, -1), means + self.places
        slope = self.slopes * bounded_exp(-log_scales)
        scale, shift = bounded_exp(raw[..., -2]), raw[..., -1]

        def mixture(x: Tensor) -> tuple[Tensor, Tensor]:
            u = (x.unsqueeze(-1) - mean) * slope
            value, rise = logit_of_mixture(log_weight, u, slope)
            z, log_slope = add_line(x, value, rise, self.min_slope)
            return torch.addcmul(shift, z, scale), log_slope + scale.log()

        return mixture
