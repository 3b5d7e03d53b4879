"""The dense sigmoidal map of neural autoregressive flows."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.maps.numeric import Curve, NumericMap, check_counts, check_min_slope
from pushforward.maps.sigmoidal.mixture import add_line, bounded_exp, logit_of_mixture, spread

__all__ = ["DenseSigmoidal"]

_OWN = 1.0  # how much a unit prefers, before training, the one in its place a layer before


class DenseSigmoidal(NumericMap):
    r"""Dense deep sigmoidal flow: layers of several sigmoids and several outputs, all connected.

        h_i <- logit( sum_j w_ij sigmoid(a_j sum_k u_jk h_k + b_j) ),   w, u = softmax, a > 0,

    from ``h = x`` to one output. Every h_i rises with x, and their derivatives in x are carried
    along, so the log-derivative is that of positive numbers. Far out it is a line. At raw = 0 the
    units stand where z is x but for 0.06 a layer, about, and each prefers the one in its place in
    the layer before: what began equal would stay equal for ever.

    Args:
        units: number of sigmoids and outputs of a layer.
        layers: number of layers, the first one from x and the last one to z; at least 2.
        min_slope: smallest slope; that share of x is mixed into the result.

    Shapes:
        x, z: ``(*batch, features)``;
        raw: ``(*batch, features, units * ((2 * layers - 2) * units + 2 * layers + 1))``

    Raises:
        ArgumentError: units below 1, layers below 2, ``min_slope`` outside (0, 1).

    Cost: forward ``3 * units ** 2`` exponentials a layer, exact. Inverse numeric: forward about
    ten times.

    Source: Huang et al. 2018, arXiv:1804.00779 (DDSF).
        Differs: all weights are among the parameters, none shared between numbers; log-slopes are
        bounded by 3; a little of x is mixed in, so that the inverse holds on plateaus.

    Example:
        >>> map = DenseSigmoidal(units=3)
        >>> raw = torch.randn(3, 1, map.raw_width, generator=torch.manual_seed(0))
        >>> x = torch.tensor([[-1e6], [0.5], [20.0]])
        >>> back, _ = map.inverse(map(x, raw)[0], raw)
        >>> bool(torch.allclose(back, x))
        True
    """

    places: Tensor
    slopes: Tensor
    own: Tensor

    def __init__(self, units: int = 4, layers: int = 2, min_slope: float = 1e-3) -> None:
        super().__init__()
        check_counts("DenseSigmoidal", units=units)
        check_counts("DenseSigmoidal", least=2, layers=layers)
        self.units, self.layers = units, layers
        self.min_slope = check_min_slope("DenseSigmoidal", min_slope)
        n = units
        # of each layer: the logits of u and w, a and b; the first layer needs no u, the last has
        # one output
        self._widths = [2 * n + n * n]
        self._widths += [2 * n + 2 * n * n] * (layers - 2) + [2 * n + n * n + n]
        self.raw_width = sum(self._widths)
        places, slopes = spread(units)
        self.register_buffer("places", places)
        self.register_buffer("slopes", slopes)
        self.register_buffer("own", _OWN * torch.eye(units))

    def curve(self, raw: Tensor) -> Curve:
        """The layers with their parameters read."""
        n = self.units
        layers = []
        for i, part in enumerate(torch.split(raw, self._widths, -1)):
            slope = self.slopes * bounded_exp(part[..., :n])
            offset = part[..., n : 2 * n] - self.slopes * self.places
            rest = part[..., 2 * n :]
            mix = None
            if i > 0:
                mix = torch.softmax(
                    rest[..., : n * n].reshape(*raw.shape[:-1], n, n) + self.own, -1
                )
                rest = rest[..., n * n :]
            logits = rest.reshape(*raw.shape[:-1], rest.shape[-1] // n, n)
            if i < self.layers - 1:
                logits = logits + self.own
            layers.append((slope, offset, mix, torch.log_softmax(logits, -1)))

        def dense(x: Tensor) -> tuple[Tensor, Tensor]:
            h = x.unsqueeze(-1)
            rise = torch.ones_like(h)
            for slope, offset, mix, log_weight in layers:
                if mix is not None:
                    h, rise = ((mix * v.unsqueeze(-2)).sum(-1) for v in (h, rise))
                u = torch.addcmul(offset, h, slope)
                h, rise = logit_of_mixture(
                    log_weight, u.unsqueeze(-2), (slope * rise).unsqueeze(-2)
                )
            return add_line(x, h.squeeze(-1), rise.squeeze(-1), self.min_slope)

        return dense
