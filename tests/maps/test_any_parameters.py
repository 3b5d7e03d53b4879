"""Round trips of every map for parameters and numbers that Hypothesis looks for, tails included."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.maps.cases import BOX, CASES

from pushforward.maps.numeric import NumericMap

ROWS = 200


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    case=st.sampled_from(CASES),
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(0.0, 1.0),
    reach=st.floats(0.0, 4.0),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_there_and_back_both_ways(case, seed, spread, reach, dtype):
    """To 1e-10 of 1 + |x| in float64, 1e-8 if the inverse is numeric, 1e-4 in float32.

    Where the slope is below 1, rounding z alone costs x an error of a rounding over the slope: that
    much is allowed for.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    map = case.build().to(dtype)
    raw = (spread * draw(ROWS, 1, map.raw_width)).to(dtype)
    inside = 0.999 * BOX * torch.erf(draw(ROWS, 1))
    x = (draw(ROWS, 1) * 10.0**reach if case.outside == "line" else inside).to(dtype)
    closed = 1e-8 if isinstance(map, NumericMap) else 1e-10
    allowed = 1e-4 if dtype == torch.float32 else closed
    for there, back in ((map.forward, map.inverse), (map.inverse, map.forward)):
        with torch.no_grad():
            z, log_slope = there(x, raw)
            error = (back(z, raw)[0] - x).abs() / (1.0 + x.abs())
        assert bool((error * log_slope.exp().clamp_max(1.0) <= allowed).all())
