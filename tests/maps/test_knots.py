"""At and beside the knots, where one side of a bin is steep and the other flat."""

import pytest
import torch

from pushforward.maps import Cubic, Linear, LinearRational, Quadratic, RationalQuadratic

every_spline = pytest.mark.parametrize(
    "cls", [RationalQuadratic, LinearRational, Linear, Quadratic, Cubic], ids=lambda c: c.__name__
)


@every_spline
@pytest.mark.parametrize("tails", ["linear", "circular", "none"])
@pytest.mark.parametrize("spread", [30.0, 300.0])
def test_the_inverse_and_its_gradient_are_finite_beside_every_knot(cls, tails, spread):
    map = cls(bins=8, box=3.5, tails=tails)
    raw = spread * torch.randn(4000, 1, map.raw_width)
    x = 7.0 * torch.rand(4000, 1) - 3.5
    z = map(x, raw)[0].detach().clamp(-3.5, 3.5)
    for nudge in (0.0, 1e-6, -1e-6):
        at, given = (z + nudge).requires_grad_(), raw.clone().requires_grad_()
        back, log_derivative = map.inverse(at, given)
        inside = log_derivative.isfinite() if tails == "none" else torch.ones_like(back, dtype=bool)
        assert bool(back.isfinite().all())
        assert bool(log_derivative[inside].isfinite().all())
        total = back.sum() + log_derivative[inside].sum()
        for gradient in torch.autograd.grad(total, [at, given]):
            assert bool(gradient.isfinite().all())


@every_spline
@pytest.mark.parametrize("tails", ["linear", "identity", "circular", "none"])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_on_every_knot_the_gradient_is_the_slope(cls, tails, direction):
    """On it, on the ends of the box, and one rounding beside: neither lost nor counted twice."""
    map = cls(bins=8, box=3.5, tails=tails).double()
    raw = torch.randn(500, 1, map.raw_width, dtype=torch.float64)
    places = map._knots(raw).places[..., 0 if direction == "forward" else 1, :]
    for knot in range(9):
        at = 3.5 * (2.0 * places[..., knot] - 1.0)
        for toward in (-torch.inf, torch.inf):
            beside = torch.nextafter(at, torch.full_like(at, toward))
            for x in (at, beside):
                x = x.clone().requires_grad_()
                z, log_derivative = getattr(map, direction)(x, raw)
                slope = torch.autograd.grad(z.sum(), x)[0]
                inside = log_derivative.isfinite()
                assert bool((inside | (x.abs() > 3.5)).all())
                torch.testing.assert_close(
                    slope[inside].log(), log_derivative[inside].detach(), atol=1e-9, rtol=0
                )
