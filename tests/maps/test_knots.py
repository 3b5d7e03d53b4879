"""The inverse at and beside the knots, where one side of a bin is steep and the other flat."""

import pytest
import torch

from pushforward.maps import RationalQuadratic


@pytest.mark.parametrize("tails", ["linear", "circular", "none"])
@pytest.mark.parametrize("spread", [30.0, 300.0])
def test_the_inverse_and_its_gradient_are_finite_beside_every_knot(tails, spread):
    map = RationalQuadratic(bins=8, box=3.5, tails=tails)
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
