"""Summaries of shards, merged, say what one pass over all rows says."""

import math

import numpy as np
import pytest
import torch

from pushforward.errors import ArgumentError, ShapeError
from pushforward.numerics.sketches import Frequent, Moments, Quantiles, Scatter
from pushforward.numerics.sketches.scatter import Dependence

KINDS = {
    "normal": lambda g, n: torch.randn(n, 3, generator=g, dtype=torch.float64),
    "heavy": lambda g, n: torch.randn(n, 3, generator=g, dtype=torch.float64).div(
        torch.randn(n, 3, generator=g, dtype=torch.float64)
    ),
    "sorted": lambda g, n: torch.arange(3.0 * n, dtype=torch.float64).reshape(n, 3),
    "atoms": lambda g, n: torch.randint(0, 4, (n, 3), generator=g).double(),
}


def draw(kind, rows):
    return KINDS[kind](torch.Generator().manual_seed(0), rows)


def in_shards(make, x, shards):
    total = make()
    for piece in x.tensor_split(shards):
        part = make()
        for rows in piece.tensor_split(3):
            part.update(rows)
        total.merge(part)
    return total


class TestMoments:
    @pytest.mark.parametrize("offset", [0.0, 1e9])
    @pytest.mark.parametrize("shards", [1, 7])
    def test_shards_agree_with_numpy(self, offset, shards):
        x = draw("normal", 1000) + offset
        moments = in_shards(lambda: Moments(3), x, shards)
        assert moments.count == 1000
        exact = [math.fsum(column) / 1000 for column in x.T.tolist()]
        # Pairwise sums of 1000 numbers are good to log2(1000) roundings of 1.1e-16.
        assert np.allclose(moments.mean, exact, rtol=2e-15, atol=1e-15)
        # At offset 1e9 one step of float64 is 1e-7, so the variance is known to about 1e-9.
        assert np.allclose(moments.variance, x.numpy().var(0), rtol=1e-12 if offset == 0 else 1e-8)
        assert torch.equal(moments.low, x.amin(0))
        assert torch.equal(moments.high, x.amax(0))

    def test_arrays_serve_as_well_as_tensors(self):
        x = draw("normal", 100)
        assert torch.equal(Moments(3).update(x.numpy()).mean, Moments(3).update(x).mean)

    def test_an_empty_shard_changes_nothing(self):
        moments = Moments(3).update(draw("normal", 10))
        before = moments.variance
        assert torch.equal(moments.update(torch.empty(0, 3)).merge(Moments(3)).variance, before)


class TestScatter:
    def test_shards_agree_with_numpy(self):
        x = draw("normal", 1000) @ torch.randn(3, 3, dtype=torch.float64) + 100.0
        scatter = in_shards(lambda: Scatter(3), x, 5)
        assert np.allclose(scatter.covariance, np.cov(x.numpy().T, bias=True), rtol=1e-10)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_exact_dependence_is_found_in_both_precisions(self, dtype):
        a, b, c = draw("normal", 500).to(dtype).T
        x = torch.stack([a, b, 3 * a + 7, c, a - 2 * b + c], 1)
        assert Scatter(5).update(x).dependences() == [
            Dependence(2, (0,)),
            Dependence(4, (0, 1, 3)),
        ]

    def test_near_dependence_is_none(self):
        a, b, c = draw("normal", 500).T
        assert Scatter(3).update(torch.stack([a, b, a + b + 1e-3 * c], 1)).dependences() == []

    def test_constant_columns_are_passed_over(self):
        x = draw("normal", 50)
        x[:, 1] = 4.0
        assert Scatter(3).update(x).dependences() == []


class TestFrequent:
    def test_few_values_are_counted_exactly(self):
        x = draw("atoms", 5000)[:, 0]
        summary = in_shards(Frequent, x, 4)
        assert summary.distinct == 4
        assert dict(summary.top(0.0)) == {float(v): int((x == v).sum()) for v in range(4)}

    @pytest.mark.parametrize("shards", [1, 9])
    def test_a_frequent_value_survives_among_many_others(self, shards):
        x = draw("heavy", 60_000)[:, 0]
        x[::15] = -7.0
        x = x[torch.randperm(60_000, generator=torch.Generator().manual_seed(1))]
        summary = in_shards(Frequent, x, shards)
        assert summary.distinct is None
        assert summary.error <= 60_000 / 1025 * shards
        ((value, count),) = summary.top(0.05)
        assert value == -7.0
        assert 4000 - summary.error <= count <= 4000

    def test_the_error_stays_below_its_bound(self):
        x = torch.arange(10_000.0)
        summary = Frequent(size=100)
        for rows in x.split(777):
            summary.update(rows)
        assert summary.error <= 10_000 / 101


class TestQuantiles:
    SHARES = torch.tensor([0.0, 0.0005, 0.01, 0.25, 0.5, 0.9, 0.9995, 1.0], dtype=torch.float64)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("rows", [1, 2, 1000])
    def test_small_tables_are_exact(self, kind, rows):
        x = draw(kind, rows)
        sketch = in_shards(lambda: Quantiles(3), x, 3)
        assert sketch.rank_error == 0
        assert torch.allclose(
            sketch.quantile(self.SHARES), x.quantile(self.SHARES, dim=0), rtol=1e-12
        )

    def test_a_small_table_is_exact_beyond_its_tails_too(self):
        x = draw("normal", 1000)
        sketch = Quantiles(3, tail=1).update(x)
        assert torch.allclose(
            sketch.quantile(self.SHARES), x.quantile(self.SHARES, dim=0), rtol=1e-12
        )

    @pytest.mark.parametrize("kind", ["normal", "heavy", "sorted"])
    @pytest.mark.parametrize("shards", [1, 6])
    def test_ranks_stay_within_the_stated_error(self, kind, shards):
        x = draw(kind, 200_000)
        sketch = in_shards(lambda: Quantiles(3, size=1024, tail=64), x, shards)
        assert 0 < sketch.rank_error < 0.02
        shares = torch.linspace(0, 1, 41, dtype=torch.float64)
        found = sketch.quantile(shares)
        below = torch.searchsorted(x.T.sort(1).values.contiguous(), found.T.contiguous())
        off = (below / len(x) - shares).abs().max()
        assert off <= sketch.rank_error + 2e-5
        assert bool((found.diff(dim=0) >= 0).all())

    def test_tails_are_exact_however_many_rows_there_are(self):
        x = draw("heavy", 150_000)
        sketch = in_shards(lambda: Quantiles(3, size=256), x, 4)
        ordered = x.sort(0).values
        shares = torch.tensor([0, 5, 1000, 149_000, 149_999], dtype=torch.float64) / 149_999
        expected = ordered[[0, 5, 1000, 149_000, 149_999]]
        assert torch.allclose(sketch.quantile(shares), expected, rtol=1e-6)

    def test_the_documented_error_for_a_million_rows(self):
        x = torch.randn(1_000_000, 1, generator=torch.Generator().manual_seed(0))
        sketch = Quantiles(1)
        for rows in x.split(65536):
            sketch.update(rows)
        assert sketch.rank_error < 2.5e-4

    def test_the_same_updates_give_the_same_answer(self):
        x = draw("normal", 50_000)
        one, two = (in_shards(lambda: Quantiles(3), x, 5) for _ in range(2))
        assert torch.equal(one.quantile(self.SHARES), two.quantile(self.SHARES))

    def test_shapes(self):
        sketch = Quantiles(3).update(draw("normal", 10).numpy())
        assert sketch.quantile(0.5).shape == (3,)
        assert sketch.quantile([0.1, 0.2]).shape == (2, 3)

    def test_infinite_values_keep_their_ranks(self):
        x = torch.tensor([-torch.inf, -torch.inf, 0.0, 1.0, torch.inf])[:, None]
        assert Quantiles(1).update(x).quantile([0.0, 0.25, 0.5, 1.0]).flatten().tolist() == [
            -torch.inf,
            -torch.inf,
            0.0,
            torch.inf,
        ]

    def test_refusals(self):
        with pytest.raises(ArgumentError, match="NaN"):
            Quantiles(1).update(torch.tensor([[1.0], [torch.nan]]))
        with pytest.raises(ShapeError, match=r"expected \(n, 2\)"):
            Quantiles(2).update(torch.zeros(3, 1))
        with pytest.raises(ArgumentError, match="no rows"):
            Quantiles(1).quantile(0.5)
        with pytest.raises(ArgumentError, match=r"expected it in \[0, 1\]"):
            Quantiles(1).update(torch.zeros(3, 1)).quantile(1.5)
        with pytest.raises(ArgumentError, match="expected"):
            Quantiles(1).merge(Quantiles(2))
        with pytest.raises(ArgumentError, match="size"):
            Quantiles(1, size=1)
