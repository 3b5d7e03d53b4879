"""Normal components with full covariances, placed by the data."""

from __future__ import annotations

import math
import operator
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.bases.base import LOG_SQRT_2PI, Base, draw_components, sampled_shape
from pushforward.errors import ArgumentError
from pushforward.numerics.order_statistics import central_range
from pushforward.numerics.precision import full_precision
from pushforward.numerics.subset import some_of

__all__ = ["GaussianMixture"]

_LOOKED_AT = 10_000  # rows that the components are placed by, at most
_USUAL = 0.999  # share of each column that places them
# Rows that place one component, at least. On 100, 200 and 500 rows of two moons 48 components of
# two rows and more each came to -38, -5.3 and -1.8 nats on others; these to -1.5, -1.2 and -1.2,
# and with one for every 15 or 40 rows that is lower by 0.1.
_ROWS_EACH = 25
_ROWS_EACH_FEATURE = 2
# The least variance of a component is a share of that of all rows.
_SETTINGS: dict[str, Any] = {"reg_covar": 1e-4, "max_iter": 50, "random_state": 0}
_WIDTH = 1.2  # of the background, as a multiple of the deviations of all rows


class GaussianMixture(Base):
    r"""Mixture of normal densities with full covariances.

    With shares w, centres m and lower triangular whitening matrices A,

        p(z) = sum_k w_k |A_k| N(A_k (z - m_k); 0, 1).

    Where data lie in separate groups, a flow from one normal density has to draw bridges of
    density between them; from this base it need not.  ``fit`` places the components by expectation
    and maximization on the latents that the data has when training begins; ``pf.fit`` does so, and
    trains them with the rest.

    Few rows place few components, since a covariance of a handful of rows is close to singular,
    and every other row far outside it: one for every 25 rows, or for every two rows a feature
    where that is more. Those beyond share places and shares with them.

    Args:
        features: width of z.
        components: number of components besides the background.
        background: share that one more component starts with, which is as wide as all rows
            together: rows far from every group keep a density that training can act on. 0 for
            none.
        learn: whether shares, centres and matrices are trained.

    Shapes:
        z: ``(*batch, features)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: no component, or a background that is not a share below 1; in ``fit``,
            fewer rows than components, where not even one has the rows it needs.

    Cost: components times ``features``^2 a row.

    Source: Dempster, Laird, Rubin 1977 (J. Royal Stat. Soc. B 39, 1). As a base of flows:
        Izmailov, Kirichenko, Finzi, Wilson 2019, arXiv:1912.13025.
        Differs: full covariances, trained; a background.

    Example:
        >>> z = torch.tensor([[-3.0], [3.0]]).repeat(50, 1) + torch.linspace(-1, 1, 100)[:, None]
        >>> base = GaussianMixture(1, components=2).fit(z)
        >>> base.loc.detach().flatten().sort().values.round(decimals=1)
        tensor([-3.,  3.])
    """

    logits: Tensor
    loc: Tensor
    log_diagonal: Tensor
    below: Tensor

    def __init__(
        self, features: int, components: int, background: float = 0.0, learn: bool = True
    ) -> None:
        super().__init__()
        whole = hasattr(components, "__index__") and not isinstance(components, bool)
        if not whole or components < 1:
            raise ArgumentError(
                f"GaussianMixture: components is {components!r}, expected a whole number from 1 up."
            )
        components = operator.index(components)
        if not 0.0 <= background < 1.0:
            raise ArgumentError(
                f"GaussianMixture: background is {background}, expected a share from 0 to below 1."
            )
        self.event_shape = (features,)
        self.components, self.background = components, float(background)
        count = components + (self.background > 0)
        # centres that differ, since equal components would stay equal; the same every time
        centres = torch.randn(count, features, generator=torch.Generator().manual_seed(0))
        centres[components:] = 0.0
        values = {
            "logits": self._shares(torch.full((components,), 1.0 / components)).log(),
            "loc": centres,
            "log_diagonal": torch.zeros(count, features),
            "below": torch.zeros(count, features, features),
        }
        for name, value in values.items():
            if learn:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def _shares(self, of_components: Tensor) -> Tensor:
        rest = of_components.new_full((int(self.background > 0),), self.background)
        return torch.cat((of_components * (1.0 - self.background), rest))

    def fit(self, z: Tensor, context: Tensor | None = None) -> GaussianMixture:
        """Place the components on latents ``(n, features)``; the same rows, the same components."""
        fewest = max(2, min(self.components, self._rows_each()))
        if len(z) < fewest:
            raise ArgumentError(
                f"GaussianMixture.fit: got {len(z)} rows for {self.components} components, "
                f"expected at least {fewest}; give it fewer with components=."
            )
        some = z.detach()[some_of(len(z), _LOOKED_AT, z.device)]
        rows = some.to(device="cpu", dtype=torch.float64)
        rows = rows.clamp(*central_range(rows, _USUAL))  # one far row would get a component
        mean, deviations = rows.mean(0), rows.std(0)
        deviations = torch.where(deviations > 0, deviations, 1.0)
        standard = (rows - mean) / deviations
        shares, centres, whitening = self._placed(standard)
        if self.background > 0:
            wide = torch.eye(len(mean), dtype=mean.dtype) / _WIDTH
            centres = torch.cat((centres, torch.zeros_like(mean)[None]))
            whitening = torch.cat((whitening, wide[None]))
        centres, whitening = mean + deviations * centres, whitening / deviations
        with torch.no_grad():
            self.logits.copy_(self._shares(shares).log())
            self.loc.copy_(centres)
            self.log_diagonal.copy_(whitening.diagonal(dim1=-2, dim2=-1).log())
            self.below.copy_(whitening.tril(-1))
        return self

    def _rows_each(self) -> int:
        return max(_ROWS_EACH, _ROWS_EACH_FEATURE * self.event_shape[0])

    def _placed(self, standard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares, centres and whitening matrices: as many places as the rows allow, in turn."""
        places = max(1, min(self.components, len(standard) // self._rows_each()))
        shares, centres, whitening = _expectation_maximization(standard, places)
        place = torch.arange(self.components) % places
        shares = shares / torch.bincount(place, minlength=places)
        return shares[place], centres[place], whitening[place]

    def _whitening(self) -> Tensor:
        return self.below.tril(-1) + torch.diag_embed(self.log_diagonal.exp())

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        return torch.logsumexp(self._joint(z), -1)

    def responsibilities(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Probability that each component made z, ``(*batch, components)``, a background last."""
        return torch.softmax(self._joint(z), -1)

    def _joint(self, z: Tensor) -> Tensor:
        with full_precision(z):
            apart = z.unsqueeze(-2) - self.loc
            whitening = self._whitening().to(apart.dtype)
            standard = torch.einsum("ked,...kd->...ke", whitening, apart)
        height = self.log_diagonal.sum(-1) + torch.log_softmax(self.logits, -1)
        constant = self.event_shape[0] * LOG_SQRT_2PI
        joint = height - 0.5 * standard.square().sum(-1) - constant
        # an infinite number times one of the zeros of a matrix would be nan
        return joint.masked_fill(z.isinf().any(-1, keepdim=True), -math.inf)

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws; gradients reach the components, but not the choice among them."""
        shape = sampled_shape(n, context, self.event_shape)
        which = draw_components(self.logits, shape[:-1], generator)
        dtype, device = self.loc.dtype, self.loc.device
        noise = torch.randn(shape, generator=generator, dtype=dtype, device=device)
        unit = torch.eye(self.event_shape[0], dtype=dtype, device=device)
        with full_precision(noise):
            spread = torch.linalg.solve_triangular(self._whitening(), unit, upper=False)
            draws = self.loc + torch.einsum("ked,...d->...ke", spread, noise)
        index = which[..., None, None].expand(*shape[:-1], 1, shape[-1])
        return draws.gather(-2, index).squeeze(-2)

    def extra_repr(self) -> str:
        """Sizes."""
        background = f", background={self.background}" if self.background else ""
        return f"features={self.event_shape[0]}, components={self.components}{background}"


def _expectation_maximization(standard: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shares, centres and whitening matrices of components fitted to rows, in float64."""
    from sklearn import mixture
    from sklearn.exceptions import ConvergenceWarning

    found = mixture.GaussianMixture(components, **_SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not have converged
        found.fit(standard.numpy())
    # precision = P P' with P upper triangular, so P' whitens
    whitening = torch.from_numpy(found.precisions_cholesky_).mT.contiguous()
    shares = torch.from_numpy(found.weights_).clamp_min(1e-6)
    return shares, torch.from_numpy(found.means_), whitening
