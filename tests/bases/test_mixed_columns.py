"""Columns of several kinds: each normalized, each given those before it, and drawn from that."""

import math

import pytest
import torch
from scipy import stats
from tests.transforms.cases import scatter
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases
from pushforward import transforms as T
from pushforward.errors import ArgumentError, ContextError, NotFiniteError, ShapeError

COLUMNS = {
    "codes": {"codes": 3},
    "whole": {"value": "whole", "low": 0, "high": 7},
    "whole-or-code": {"codes": 2, "value": "whole", "low": 0, "taken": (0.0,)},
    "number": {"value": "number"},
    "number-or-codes": {"codes": 3, "value": "number", "low": 0.0},
    "angle": {"value": "angle", "period": 360.0},
    "angle-or-code": {"codes": 2, "value": "angle"},
    "number-between": {"value": "number", "low": -1.0, "high": 2.0},
    "whole-without-ends": {"value": "whole"},
    "whole-without-zero-and-one": {"codes": 3, "value": "whole", "taken": (0.0, 1.0)},
    "log-or-code": {"codes": 2, "value": "number", "low": 0.0, "log": True},
    "log-between": {"value": "number", "low": 1.0, "high": 20.0, "log": True},
    "log-whole": {"value": "whole", "low": -2, "high": 60, "taken": (0.0,), "log": True},
}
NAMES = list(COLUMNS)
every_column = pytest.mark.parametrize("name", NAMES)
WIDTHS = [("codes" in one) + ("value" in one) for one in COLUMNS.values()]
STARTS = [sum(WIDTHS[:i]) for i in range(len(WIDTHS))]


AFTER = [
    None,
    0,
    0,
    2,
    2,
    None,
    4,
    0,
    2,
    6,
    9,
    10,
    0,
]  # of each the earlier column that it begins by


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n=300, seed=0):
    """Rows that have all these columns, and hang together a little."""
    draws = seeded(seed)
    mood = torch.randn(n, generator=draws).double()
    even = lambda: torch.rand(n, generator=draws).double()
    codes = (even() * 3).floor()
    whole = (3.0 + 1.5 * mood).round().clamp(0, 7)
    other = (1.0 + 4.0 * even()).floor()
    both = (even() < 0.3).double(), 2.0 * mood + even()
    slots = [
        *(codes, whole, both[0], other, both[1]),
        *((even() * 3).floor(), even().exp(), 360.0 * even() - 180.0),
        *((even() < 0.5).double(), 6.0 * even() - 3.0, -1.0 + 3.0 * even()),
        *((5.0 * mood).round(), (even() * 3).floor(), 2.0 + (6.0 * even()).floor()),
        *((even() < 0.3).double(), (1.5 * mood + even()).exp(), 1.0 + 19.0 * even().square()),
        (20.0 * even().square()).floor() + 1.0,
    ]
    return torch.stack(slots, -1)


def built(dtype=torch.float64, context=0, **options):
    """Fitted, and then its weights drawn anew: far from the start, each column its own way."""
    base = bases.MixedColumns(
        list(COLUMNS.values()), components=3, hidden=(24,), context=context, **options
    )
    base.fit(rows().float())
    scatter(base, 0.4)
    return base.double() if dtype == torch.float64 else base


@pytest.fixture(scope="module", params=[None, AFTER], ids=["", "after-others"])
def mixed(request):
    """Tests do not change it."""
    return built(after=request.param)


def alternatives(name):
    """All that may stand in a column, and the logarithm of the space each place stands for."""
    one = COLUMNS[name]
    first = 1 if one.get("value") else 0
    codes = torch.arange(first, max(first, one.get("codes", 0)), dtype=torch.float64)
    kind = one.get("value")
    low, high = one.get("low", -50.0), one.get("high", 50.0)
    values = torch.zeros(0, dtype=torch.float64)
    log_space = torch.zeros(())
    if kind == "whole":
        values = torch.arange(low, high + 1, dtype=torch.float64)
        values = values[~torch.isin(values, torch.tensor(one.get("taken", ())).double())]
    elif kind:
        if kind == "angle":
            low, high = (s * 0.5 * one.get("period", 2.0 * math.pi) for s in (-1, 1))
        count = 5_000
        log = one.get("log", False)
        if log:
            low, high = math.log(max(low, 1e-9)), math.log(one.get("high", 1e9))
        space = (high - low) / count  # the midpoint rule
        values = low + space * (torch.arange(count, dtype=torch.float64) + 0.5)
        log_space = math.log(space) + (values if log else torch.zeros_like(values))
        values = values.exp() if log else values
    slots = []
    if len(codes):
        slots.append(torch.cat((codes, torch.zeros_like(values))))
    if kind:
        slots.append(torch.cat((torch.ones_like(codes), values)))
    mass = torch.cat((torch.zeros_like(codes), torch.zeros_like(values) + log_space))
    return torch.stack(slots, -1), mass


def shares(base, name, row, context=None):
    """What may stand in a column of a row, and the probability of each."""
    place = NAMES.index(name)
    others, mass = alternatives(name)
    tried = row.repeat(len(others), 1)
    tried[:, STARTS[place] : STARTS[place] + WIDTHS[place]] = others
    with torch.no_grad():
        return others, (base.log_probs(tried, context)[:, place] + mass).exp()


@every_column
def test_every_column_is_normalized_whatever_came_before(mixed, name):
    for row in rows(3, seed=1):
        assert float(shares(mixed, name, row)[1].sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", ["codes", "whole-or-code", "number-or-codes", "angle"])
def test_every_column_is_normalized_before_data_was_seen_and_given_a_context(name):
    row, context = rows(1, seed=1)[0], torch.tensor([0.3, -2.0]).double()
    bare = bases.MixedColumns(list(COLUMNS.values()), hidden=()).double()
    assert float(shares(bare, name, row)[1].sum()) == pytest.approx(1.0, abs=1e-5)
    of_context = built(context=2)
    one = shares(of_context, name, row, context)[1]
    assert float(one.sum()) == pytest.approx(1.0, abs=1e-5)
    assert not torch.allclose(one, shares(of_context, name, row, -context)[1], rtol=1e-3)


@every_column
def test_draws_follow_the_density(mixed, name):
    """Frequencies of codes and whole numbers by chi square, others by Kolmogorov and Smirnov."""
    place, n = NAMES.index(name), 2_000
    row = rows(1, seed=2)[0]
    known = [i < place for i in range(len(NAMES))]
    drawn, _ = mixed.complete(row.repeat(n, 1), known, generator=seeded())
    drawn = drawn[:, STARTS[place] : STARTS[place] + WIDTHS[place]]
    others, share = shares(mixed, name, row)
    if COLUMNS[name].get("value") in ("number", "angle"):
        coded = others.shape[1] == 2
        codes = others[:, 0] if coded else torch.zeros(len(others)).double()
        of_draws = drawn[:, 0] if coded else torch.zeros(n).double()
        for code in range(1, COLUMNS[name].get("codes", 0)):
            expected = n * float(share[codes == code].sum())
            spread = math.sqrt(expected)
            assert abs(int((of_draws == code).sum()) - expected) < 4.0 * spread + 4.0
        there, cumulative = others[codes == 0, -1], share[codes == 0].cumsum(0)
        numbers = drawn[of_draws == 0, -1]
        where = torch.searchsorted(there, numbers).clamp(max=len(there) - 1)
        rank = cumulative[where] / cumulative[-1]
        assert stats.kstest(rank.numpy(), "uniform").pvalue > 1e-3
    else:
        if others.shape[1] == 2:  # what stands beside a code does not matter
            drawn = torch.where(drawn[:, :1] > 0, drawn[:, :1] * others.new_tensor([1, 0]), drawn)
            others = torch.where(
                others[:, :1] > 0, others[:, :1] * others.new_tensor([1, 0]), others
            )
        counts = (drawn[:, None] == others).all(-1).sum(0)
        assert int(counts.sum()) == n
        often = share * n > 8.0
        observed = torch.cat((counts[often], counts[~often].sum()[None])).double()
        expected = torch.cat((share[often], 1.0 - share[often].sum()[None])) * n
        kept = expected > 0.5
        statistic = ((observed - expected).square() / expected)[kept].sum()
        assert stats.chi2.sf(float(statistic), int(kept.sum()) - 1) > 1e-3


@every_column
def test_a_column_depends_on_those_before_it_and_on_no_other(mixed, name):
    place = NAMES.index(name)
    one, other = rows(50, seed=3), rows(50, seed=4)
    later = torch.cat((one[:, : STARTS[place] + WIDTHS[place]], other), -1)[:, : one.shape[1]]
    later[:, STARTS[place] + WIDTHS[place] :] = other[:, STARTS[place] + WIDTHS[place] :]
    with torch.no_grad():
        here, there = (mixed.log_probs(z)[:, place] for z in (one, later))
        assert_close(here, there, atol=1e-12, rtol=0)
        if place:
            earlier = one.clone()
            earlier[:, 0] = (earlier[:, 0] + 1) % 3
            assert bool((mixed.log_probs(earlier)[:, place] != here).all())


def test_the_density_of_a_row_is_the_product_of_its_columns(mixed):
    z = rows(20, seed=5)
    assert_close(mixed.log_prob(z), mixed.log_probs(z).sum(-1), atol=1e-12, rtol=0)
    assert mixed.log_probs(z).shape == (20, len(COLUMNS))
    assert_close(mixed.log_prob(z.reshape(4, 5, -1)).reshape(-1), mixed.log_prob(z))


@pytest.mark.parametrize("name", ["whole-or-code", "number-or-codes", "angle-or-code"])
def test_what_stands_beside_a_code_does_not_matter(mixed, name):
    start = STARTS[NAMES.index(name)]
    z = rows(30, seed=6)
    z[:, start] = 1.0
    moved = z.clone()
    moved[:, start + 1] = 2.0 + rows(30, seed=7)[:, 0]
    assert_close(mixed.log_prob(moved), mixed.log_prob(z), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("codes", 3.0),
        ("codes", -1.0),
        ("codes", 0.5),
        ("whole", 0.5),
        ("whole", -1.0),
        ("whole", 8.0),
        ("whole-or-code", 0.0),
        ("number-or-codes", -0.1),
        ("number-between", 2.5),
        ("number-between", -1.5),
        ("whole-without-zero-and-one", 1.0),
        ("log-or-code", 0.0),
        ("log-or-code", -1.0),
        ("log-between", 0.5),
        ("log-between", 20.5),
        ("log-whole", -3.0),
        ("log-whole", 0.0),
        ("log-whole", 61.0),
    ],
)
def test_what_is_none_of_a_column_s_values_is_impossible(mixed, name, value):
    place = NAMES.index(name)
    z = rows(1, seed=8)
    if WIDTHS[place] == 2:
        z[:, STARTS[place]] = 0.0
    assert bool(mixed.log_prob(z).isfinite())
    z[:, STARTS[place] + WIDTHS[place] - 1] = value
    log_p = mixed.log_prob(z)
    assert float(log_p.detach()) == -math.inf
    gradients = torch.autograd.grad(log_p.sum(), list(mixed.parameters()))
    assert not any(bool(g.isnan().any()) for g in gradients)


def test_angles_come_round(mixed):
    z = rows(20, seed=9)
    turned = z.clone()
    turned[:, STARTS[NAMES.index("angle")]] += 360.0
    assert_close(mixed.log_prob(turned), mixed.log_prob(z), atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_out_numbers_have_a_density_and_a_gradient(dtype):
    base = built(dtype)
    z = rows(6, seed=10).to(dtype)
    for name in ("number", "whole-without-ends"):
        z[:, STARTS[NAMES.index(name)]] = torch.tensor([0, 1e3, -1e3, 1e6, -1e6, 1e9], dtype=dtype)
    number = STARTS[NAMES.index("number-or-codes")]
    z[:, number], z[:, number + 1] = 0.0, torch.tensor([0, 1e-30, 1e3, 1e6, 1e9, 1e12])
    number = STARTS[NAMES.index("log-or-code")]
    z[:, number], z[:, number + 1] = 0.0, torch.tensor([1.0, 1e-30, 1e3, 1e6, 1e9, 1e30])
    log_p = base.log_prob(z)
    assert log_p.dtype == dtype
    assert bool(log_p.isfinite().all())
    gradients = torch.autograd.grad(log_p.sum(), list(base.parameters()))
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_both_precisions_agree():
    z = rows(100, seed=11).float()
    single, double = built(torch.float32).log_prob(z), built().log_prob(z.double())
    # thirteen columns of values up to a few hundred, in numbers with seven digits
    assert_close(single.double(), double, atol=2e-3, rtol=0)


def test_a_code_that_no_row_had_stays_possible():
    base = bases.MixedColumns([{"codes": 3}], hidden=())
    base.fit(torch.tensor([0.0, 1.0]).repeat(50)[:, None])
    base.network.last.bias.data[2] = -1e4  # a network that is sure of it
    p = base.log_prob(torch.arange(3.0)[:, None]).detach().exp()
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-6)
    assert 1e-6 < float(p[2]) < 1e-3


def test_it_begins_at_columns_as_frequent_as_in_the_data_and_independent():
    z = torch.stack((torch.tensor([0.0, 1.0, 1.0, 2.0]).repeat(100), torch.arange(400) % 3), -1)
    base = bases.MixedColumns([{"codes": 3}, {"value": "whole"}], hidden=(8,)).fit(z)
    p = base.log_probs(torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))).exp()
    assert_close(p[::3, 0], torch.tensor([0.25, 0.5, 0.25]), atol=2e-3, rtol=0)
    assert_close(p[:3, 1], p[3:6, 1], atol=0, rtol=0)
    assert bool((p[:3, 1] > 0.2).all())


class TestComplete:
    def test_the_weight_is_the_density_of_what_is_known(self, mixed):
        known = [i % 2 == 0 for i in range(len(NAMES))]
        z = rows(40, seed=12)
        made, weight = mixed.complete(z, known, generator=seeded())
        each = mixed.log_probs(made).detach()
        assert_close(weight, each[:, torch.tensor(known)].sum(-1), atol=1e-9, rtol=0)
        for place, one in enumerate(known):
            slots = slice(STARTS[place], STARTS[place] + WIDTHS[place])
            assert one == torch.equal(made[:, slots], z[:, slots])

    def test_all_known_is_the_density_and_none_known_is_a_draw(self, mixed):
        z = rows(10, seed=13)
        made, weight = mixed.complete(z, [True] * len(NAMES))
        assert torch.equal(made, z)
        assert_close(weight, mixed.log_prob(z).detach(), atol=1e-9, rtol=0)
        made, weight = mixed.complete(z, [False] * len(NAMES), generator=seeded(5))
        assert_close(made, mixed.rsample(10, generator=seeded(5)), atol=0, rtol=0)
        assert not bool(weight.any())

    def test_mean_weights_are_marginal_probabilities(self):
        base = bases.MixedColumns([{"codes": 2}, {"value": "whole"}], components=2, hidden=(8,))
        scatter(base.double(), 1.0)
        exact = base.log_prob(torch.tensor([[0.0, 1.0], [1.0, 1.0]]).double()).exp().sum()
        z = torch.tensor([[0.0, 1.0]]).double().repeat(20_000, 1)
        _, weight = base.complete(z, [False, True], generator=seeded())
        error = float(weight.exp().std()) / math.sqrt(20_000)
        assert float(weight.exp().mean()) == pytest.approx(float(exact.detach()), abs=4.5 * error)


class TestDraws:
    @pytest.mark.parametrize("n", [(), (3,), (2, 3), (0,)], ids=str)
    def test_they_have_the_shape_asked_for_and_a_density(self, mixed, n):
        z = mixed.rsample(n, generator=seeded())
        assert z.shape == (*n, mixed.event_shape[0])
        assert bool(mixed.log_prob(z).isfinite().all())

    def test_the_seed_decides(self, mixed):
        before = torch.get_rng_state()
        one, same, other = (mixed.rsample(20, generator=seeded(s)) for s in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert torch.equal(torch.get_rng_state(), before)

    def test_every_context_gets_its_draws(self):
        base = built(context=2)
        assert base.rsample(4, torch.zeros(5, 2).double()).shape == (4, 5, base.event_shape[0])
        with pytest.raises(ContextError):
            base.rsample(4)
        with pytest.raises(ContextError):
            base.log_prob(rows(2))
        with pytest.raises((ContextError, ShapeError)):
            base.log_prob(rows(2), torch.zeros(2, 3))

    def test_a_density_of_nothing_but_what_codes_stand_for_cannot_be_drawn(self, monkeypatch):
        monkeypatch.setattr("pushforward.bases.columns.parts._TRIES", 10)
        base = bases.MixedColumns([{"codes": 2, "value": "whole", "low": 0, "high": 0}])
        base.rsample(3)
        taken = {"codes": 2, "value": "whole", "low": 0, "high": 0, "taken": (0.0,)}
        with pytest.raises(NotFiniteError, match="column 0 draws nothing between its ends but"):
            bases.MixedColumns([taken]).rsample(3)


def test_saving_keeps_the_density_and_the_draws(tmp_path):
    width = sum(WIDTHS)
    flow = pf.Flow(T.Permutation(width, order=list(range(width))), built(torch.float32))
    again = pf.load(pf.save(flow, tmp_path / "mixed.safetensors"))
    z = rows(20).float()
    assert torch.equal(again.log_prob(z), flow.log_prob(z))
    assert torch.equal(again.sample(5, generator=seeded()), flow.sample(5, generator=seeded()))


@pytest.mark.parametrize(
    ("columns", "options", "says"),
    [
        ([], {}, "got no columns, expected at least one"),
        ([{}], {}, "column 0 is {}, expected codes from 1 up"),
        ([{"codes": 2}, {"value": "colour"}], {}, "column 1 is .*'colour'"),
        ([{"codes": -1}], {}, "column 0 is"),
        ([{"value": "angle", "period": 0.0}], {}, "column 0 is"),
        ([{"code": 2}], {}, "column 0 is .*'code'"),
        ([{"value": "whole", "log": True}], {}, "expected a number, or a whole number with a low"),
        ([{"value": "angle", "log": True}], {}, "expected a number, or a whole number with a low"),
        ([{"value": "number"}], {"components": 0}, "components is 0, expected at least 1"),
    ],
)
def test_columns_that_cannot_be_are_refused(columns, options, says):
    with pytest.raises(ArgumentError, match=says):
        bases.MixedColumns(columns, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_codes_that_repeat_get_what_each_gets_alone(dtype):
    base = bases.MixedColumns([{"codes": 3}, {"codes": 2}, {"codes": 4}], hidden=(16,))
    scatter(base, 0.5)
    base = base.to(dtype)
    z = torch.stack([torch.randint(k, (2000,), generator=seeded(k)) for k in (3, 2, 4)], -1)
    z = z.to(dtype)
    with torch.no_grad():
        together = base.log_probs(z)
        alone = torch.cat([base.log_probs(row) for row in z.split(100)])
    tolerance = 1e-5 if dtype is torch.float32 else 1e-12
    assert_close(together, alone, atol=tolerance, rtol=0.0)
    z[7, 1] = 2.0  # no such code
    with torch.no_grad():
        assert base.log_prob(z)[7] == -math.inf
    assert base.log_prob(z.clone().requires_grad_()).requires_grad


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
def test_compiled_the_density_is_the_same_while_gradients_are_followed():
    base = built(torch.float32)
    z = rows(64, seed=12).float()
    compiled = torch.compile(base.log_probs)
    assert_close(compiled(z).detach(), base.log_probs(z).detach(), atol=2e-4, rtol=1e-4)
