"""The deep sigmoidal map of neural autoregressive flows."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.maps.numeric import Curve, NumericMap, check_counts, check_min_slope
from pushforward.maps.sigmoidal.mixture import add_line, bounded_exp, logit_of_mixture, spread

__all__ = ["DeepSigmoidal"]


class DeepSigmoidal(NumericMap):
    r"""Deep sigmoidal flow: a perceptron with positive weights whose ends are logit and sigmoid.

        h(x) = logit( sum_j w_j sigmoid(a_j x + b_j) ),   w = softmax, a > 0,

    ``layers`` times in a row. Far out it is a line. At raw = 0 the sigmoids stand where z is x but
    for 0.06 at most a layer, and the slope 1 but for 8 %: sigmoids that began equal would stay
    equal for ever.

    Args:
        units: number of sigmoids of a layer.
        layers: number of layers.
        min_slope: smallest slope; that share of x is mixed into the result.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, 3 * units * layers)``

    Raises:
        ArgumentError: units or layers below 1, ``min_slope`` outside (0, 1).

    Cost: forward three exponentials a unit, exact. Inverse numeric: forward about ten times.

    Source: Huang et al. 2018, arXiv:1804.00779 (DSF).
        Differs: a is a bounded exponential, not a softplus, so a tail stretches by 33 at most in a
        layer; a little of x is mixed in, so that the inverse holds on plateaus.

    Example:
        >>> map = DeepSigmoidal(units=4, layers=2)
        >>> raw = torch.randn(3, 1, map.raw_width, generator=torch.manual_seed(0))
        >>> x = torch.tensor([[-1e6], [0.5], [20.0]])
        >>> back, _ = map.inverse(map(x, raw)[0], raw)
        >>> bool(torch.allclose(back, x))
        True
    """

    places: Tensor
    slopes: Tensor

    def __init__(self, units: int = 8, layers: int = 1, min_slope: float = 1e-3) -> None:
        super().__init__()
        check_counts("DeepSigmoidal", units=units, layers=layers)
        self.units, self.layers = units, layers
        self.min_slope = check_min_slope("DeepSigmoidal", min_slope)
        self.raw_width = 3 * units * layers
        places, slopes = spread(units)
        self.register_buffer("places", places)
        self.register_buffer("slopes", slopes)

    def curve(self, raw: Tensor) -> Curve:
        """The layers with their parameters read."""
        parts = raw.reshape(*raw.shape[:-1], 3, self.layers, self.units)
        logits, log_slopes, offsets = parts.unbind(-3)
        slopes = self.slopes * bounded_exp(log_slopes)
        read = (torch.log_softmax(logits, -1), slopes, offsets - self.slopes * self.places)
        layers = list(zip(*(part.unbind(-2) for part in read), strict=True))

        def deep(x: Tensor) -> tuple[Tensor, Tensor]:
            z, rise = x, torch.ones_like(x)
            for log_weight, slope, offset in layers:
                u = torch.addcmul(offset, z.unsqueeze(-1), slope)
                z, step = logit_of_mixture(log_weight, u, slope)
                rise = rise * step
            return add_line(x, z, rise, self.min_slope)

        return deep
