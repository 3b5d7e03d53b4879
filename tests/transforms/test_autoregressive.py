"""Autoregressions along orders and graphs, and the block network, against their definitions."""

import itertools
import math

import pytest
import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.data.toys import TOYS
from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks import MaskedMLP
from pushforward.numerics.dependence import dependence, levels

DOUBLE = torch.float64


def drawn(transform, spread=0.4):
    scatter(transform.double(), spread)
    return transform


def graph(features, seed, density=0.4):
    """A random graph without cycles, its features in no particular order."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(features, generator=generator)
    edges = torch.rand(features, features, generator=generator) < density
    return edges & (place[None, :] < place[:, None])


def longest(table):
    """Features on the longest path, by trying all."""
    parents = [row.nonzero()[:, 0].tolist() for row in table]

    def depth(i):
        return 1 + max((depth(j) for j in parents[i]), default=0)

    return max(depth(i) for i in range(len(table)))


# ---------------------------------------------------------------- which features see which


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hidden", [(), (1,), (5, 40), (7, 7, 7)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
def test_a_masked_perceptron_sees_what_the_graph_allows_and_all_of_it(seed, hidden, context):
    table = graph(6, seed)
    network = MaskedMLP(6, 3, None, context, hidden, "tanh", adjacency=table).double()
    scatter(network, 0.5)
    x, c = torch.randn(6, dtype=DOUBLE), torch.randn(context, dtype=DOUBLE)
    by_x, by_c = torch.autograd.functional.jacobian(
        lambda x, c: network(x, c if context else None), (x, c)
    )
    assert torch.equal((by_x != 0).any(1), table)
    assert torch.equal((by_x != 0).all(1), table)
    assert bool((by_c != 0).all())


@pytest.mark.parametrize("seed", range(3))
def test_what_a_parent_sees_is_not_seen_through_it(seed):
    """Of a chain each feature sees the one before, not those before that."""
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    table = torch.zeros(5, 5, dtype=torch.bool)
    table[order[1:], order[:-1]] = True
    step = drawn(T.Autoregressive(5, map=maps.Affine(), adjacency=table, hidden=(16,)))
    jacobian = torch.autograd.functional.jacobian(
        lambda v: step(v)[0].sum(0), torch.randn(32, 5, dtype=DOUBLE)
    )
    assert torch.equal((jacobian != 0).any(1), table | torch.eye(5, dtype=torch.bool))
    assert torch.equal(step.influence(), table | torch.eye(5, dtype=torch.bool))


@pytest.mark.parametrize("seed", range(6))
def test_the_inverse_takes_as_many_steps_as_the_longest_path_has_features(seed):
    table = graph(7, seed)
    step = drawn(T.Autoregressive(7, map=maps.Affine(), adjacency=table, hidden=(16,)))
    x = torch.randn(5, 7, dtype=DOUBLE)
    z, logdet = step(x)
    assert len(step.network.sizes) == longest(table)
    back, logdet_back = step.inverse(z)
    assert_close(back, x, atol=1e-11, rtol=0)
    assert_close(logdet_back, -logdet, atol=1e-11, rtol=0)


def test_features_on_their_own_take_one_step():
    step = T.Autoregressive(4, map=maps.Affine(), adjacency=torch.zeros(4, 4, dtype=torch.bool))
    assert step.network.sizes == [4]
    assert not step.network.layers  # without context there is nothing to see


def test_a_full_graph_is_an_order():
    order = [2, 0, 3, 1]
    by_order, by_graph = (
        T.Autoregressive(4, map=maps.Affine(), hidden=(9,), **how)
        for how in ({"order": order}, {"adjacency": dependence("", 4, order)})
    )
    for name, tensor in by_order.state_dict().items():
        if "mask" in name:
            assert torch.equal(tensor, by_graph.state_dict()[name]), name
    assert by_order.network.sequence.tolist() == by_graph.network.sequence.tolist() == [1, 3, 0, 2]
    assert by_order.network.known == by_graph.network.known


def test_the_diagonal_of_an_adjacency_says_nothing():
    table = graph(5, 1)
    assert torch.equal(dependence("", 5, adjacency=table | torch.eye(5, dtype=torch.bool)), table)


def test_levels_count_the_longest_way_and_mark_what_hangs_on_a_cycle():
    for seed in range(5):
        table = graph(7, seed)
        assert int(levels(table).max()) + 1 == longest(table)
        for i, j in itertools.product(range(7), repeat=2):
            if table[i, j]:
                assert levels(table)[j] < levels(table)[i]
    table = torch.zeros(4, 4, dtype=torch.bool)
    table[1, 2] = table[2, 1] = table[3, 1] = True
    assert levels(table).tolist() == [0, -1, -1, -1]


def test_a_cycle_is_named():
    table = torch.zeros(5, 5, dtype=torch.bool)
    table[0, 4] = True  # hangs on the cycle, is none of it
    table[4, 2] = table[2, 3] = table[3, 4] = True
    with pytest.raises(ArgumentError) as caught:
        T.Autoregressive(5, map=maps.Affine(), adjacency=table)
    assert str(caught.value) in {
        "Autoregressive: adjacency has the cycle " + path + " (each influences the next), expected "
        "none."
        for path in ("4 -> 3 -> 2 -> 4", "3 -> 2 -> 4 -> 3", "2 -> 4 -> 3 -> 2")
    }


@pytest.mark.parametrize(
    ("adjacency", "came"),
    [
        ([[False, True]], r"\(1, 2\) of torch.bool"),
        ([[0, 0], [1, 0]], r"\(2, 2\) of torch.int64"),
        ([[False], [True, False]], r"\[\[False\], \[True, False\]\]"),
        (3, "3"),
        ([True, False], r"\[True, False\]"),
        ([["a", "b"]] * 2, r"\[\['a', 'b'\], \['a', 'b'\]\]"),
        (torch.zeros(3, 3, dtype=torch.bool), r"\(3, 3\) of torch.bool"),
    ],
    ids=str,
)
def test_what_is_no_adjacency_is_refused(adjacency, came):
    with pytest.raises(ShapeError, match=rf"adjacency is {came}, expected \(2, 2\) of booleans"):
        T.Autoregressive(2, map=maps.Affine(), adjacency=adjacency)


def test_an_order_beside_an_adjacency_is_refused():
    with pytest.raises(ArgumentError, match="Autoregressive: got order and adjacency, expected on"):
        T.Autoregressive(2, map=maps.Affine(), order=[0, 1], adjacency=[[False] * 2] * 2)


@pytest.mark.parametrize("kind", [T.BlockAutoregressive, lambda n, order: masked(n, order)])
@pytest.mark.parametrize("order", [[0, 0], [1, 2], [0], [0.0, 1.7], 2, torch.tensor(2)], ids=str)
def test_what_is_no_order_is_refused(kind, order):
    with pytest.raises(ArgumentError, match=r"utoregressive: order is .* a permutation of 0 … 1"):
        kind(2, order=order)


def masked(features, order):
    return T.Autoregressive(features, map=maps.Affine(), order=order)


def test_a_graph_may_be_a_list_of_tensors():
    rows = list(torch.tensor([[False, True], [False, False]]))
    step = T.Autoregressive(2, map=maps.Affine(), adjacency=rows)
    assert step.network.sequence.tolist() == [1, 0]


def test_a_graph_given_as_lists_is_saved(tmp_path):
    table = [[False, False, True], [False, False, False], [False, True, False]]
    flow = Flow(T.Autoregressive(3, map=maps.Affine(), adjacency=table), bases.Normal(3))
    scatter(flow, 0.4)
    pf.save(flow, tmp_path / "graph.safetensors")
    again = pf.load(tmp_path / "graph.safetensors")
    x = torch.randn(4, 3)
    assert_close(again.log_prob(x), flow.log_prob(x), atol=0, rtol=0)
    assert torch.equal(again.transform.influence(), flow.transform.influence())


# ---------------------------------------------------------------- the block network


@torch.no_grad()
def by_loops(step, x):
    """One row, block by block, as the formula says; z and the slope of each feature."""
    n = len(x)
    seen = [[float(v)] for v in x]  # what each feature's units give
    slopes = [[1.0] for _ in x]
    for index, (inputs, outputs) in enumerate(step.sizes):
        weight = step.weights[index].reshape(n, outputs, n, inputs)
        soft = 0.1 / inputs
        shift = step.shifts[index].reshape(n, outputs)
        gain = step.gains[index].exp()
        after, after_slopes = [], []
        for i in range(n):
            units, unit_slopes = [], []
            for o in range(outputs):
                total, slope = float(shift[i, o]), 0.0
                for j in range(n):
                    if not step.places[j] <= step.places[i]:
                        continue
                    for k in range(inputs):
                        w = float(weight[i, o, j, k])
                        if i == j:
                            w = (w + math.sqrt(w * w + soft * soft)) / 2.0
                        w *= float(gain[i, o])
                        total += w * seen[j][k]
                        slope += w * slopes[i][k] if i == j else 0.0
                if index < len(step.sizes) - 1:
                    slope /= math.cosh(total) ** 2
                    total = math.tanh(total)
                units.append(total)
                unit_slopes.append(slope)
            after.append(units)
            after_slopes.append(unit_slopes)
        seen, slopes = after, after_slopes
    linear = [math.exp(3.0 * math.tanh(float(a) / 3.0)) for a in step.slope]
    z = [linear[i] * float(x[i]) + seen[i][0] for i in range(n)]
    return z, [linear[i] + slopes[i][0] for i in range(n)]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]], ids=str)
def test_a_block_network_is_its_formula(order):
    step = drawn(T.BlockAutoregressive(3, order=order, hidden=(4, 2)), 1.0)
    x = torch.randn(4, 3, dtype=DOUBLE)
    z, logdet = step(x)
    for i in range(4):
        want, slopes = by_loops(step, x[i])
        assert_close(z[i], torch.tensor(want, dtype=DOUBLE), atol=1e-12, rtol=1e-12)
        assert float(logdet[i].detach()) == pytest.approx(sum(map(math.log, slopes)), abs=1e-11)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]], ids=str)
def test_a_block_network_depends_on_what_is_earlier_and_on_all_of_it(order):
    step = drawn(T.BlockAutoregressive(4, order=order))
    jacobian = torch.autograd.functional.jacobian(
        lambda v: step(v)[0], torch.randn(4, dtype=DOUBLE)
    )
    assert torch.equal(jacobian != 0, step.influence())
    place = torch.tensor(order)
    assert torch.equal(step.influence(), place[None, :] <= place[:, None])


@pytest.mark.parametrize("spread", [0.4, 1.0, 3.0])
def test_a_block_network_reaches_every_number(spread):
    """A sum of tanh alone would be bounded, and a density of it would not integrate to one."""
    step = drawn(T.BlockAutoregressive(2), spread)
    far = torch.tensor([20.0, -15.0, 1e3, -1e6, 1e12], dtype=DOUBLE)
    z = torch.cartesian_prod(far, far)
    back = step(step.inverse(z)[0])[0]
    # a number hangs on all of its row, so that it is as exact as the largest of these
    assert_close(back / z.abs().amax(-1, keepdim=True), z / z.abs().amax(-1, keepdim=True))


@pytest.mark.parametrize("spread", [0.4, 2.0])
def test_the_density_of_a_block_network_integrates_to_one(spread):
    flow = Flow(drawn(T.BlockAutoregressive(1), spread), bases.Normal(1)).double()
    ends = flow.decode(torch.tensor([[-9.0], [9.0]], dtype=DOUBLE)).detach()[:, 0]
    x = torch.linspace(float(ends[0]), float(ends[1]), 400_001, dtype=DOUBLE)
    with torch.no_grad():
        mass = torch.trapezoid(flow.log_prob(x[:, None]).exp(), x)
    assert float(mass) == pytest.approx(1.0, abs=1e-6)


def test_saturated_units_leave_the_slope_of_the_linear_term():
    step = drawn(T.BlockAutoregressive(2), 1.0)
    want = (3.0 * torch.tanh(step.slope / 3.0)).sum()
    for size in (1e6, 1e30):
        for kind in (torch.float32, DOUBLE):
            x = torch.tensor([[size, -size]], dtype=kind)
            logdet = step.to(kind)(x)[1]
            assert_close(logdet, want.to(kind).expand(1), atol=1e-5, rtol=0)


def test_a_number_that_is_none_spoils_only_what_depends_on_it():
    step = drawn(T.BlockAutoregressive(3, order=[1, 0, 2]))
    z = torch.randn(3, 3, dtype=DOUBLE)
    clean, logdet = step.inverse(z)
    for odd in (math.nan, math.inf):
        z[1, 0] = odd  # second in the order: feature 1 comes before it, feature 2 behind
        x, found = step.inverse(z)
        assert x[1].isnan().tolist() == [True, False, True]
        assert bool(found[1].isnan())
        assert_close(x[1, 1], clean[1, 1], atol=1e-14, rtol=0)
        assert_close(x[[0, 2]], clean[[0, 2]], atol=1e-14, rtol=0)
        assert_close(found[[0, 2]], logdet[[0, 2]], atol=1e-14, rtol=0)


def test_a_context_sets_shifts_and_slopes_of_every_feature():
    step = drawn(T.BlockAutoregressive(3, context=2, context_hidden=(8,)))
    x = torch.zeros(3, dtype=DOUBLE)
    jacobian, slopes = torch.autograd.functional.jacobian(
        lambda c: (step(x, c)[0], step._shifts(c)[1]), torch.randn(2, dtype=DOUBLE)
    )
    assert bool((jacobian != 0).all())
    assert bool((slopes != 0).all())


@pytest.mark.parametrize("hidden", [(), (4, 0)], ids=str)
def test_a_block_network_without_units_is_refused(hidden):
    with pytest.raises(
        ArgumentError, match=r"BlockAutoregressive: hidden is .*, expected .*at least"
    ):
        T.BlockAutoregressive(2, hidden=hidden)


def test_a_block_network_learns_from_its_start():
    """It starts near the identity, with gradients that take it away from there quickly."""
    x = TOYS["two_moons"].sample(2000, seed=0).float()
    torch.manual_seed(0)
    steps = [T.BlockAutoregressive(2, order=order) for order in ([0, 1], [1, 0])]
    flow = Flow(T.Compose(T.Standardize(2), *steps), bases.Normal(2)).fit(x)
    with torch.no_grad():
        before = -float(flow.log_prob(x).mean())
    pf.fit(flow, x, steps=200, progress=False)
    with torch.no_grad():
        assert -float(flow.log_prob(x).mean()) < before - 0.4
