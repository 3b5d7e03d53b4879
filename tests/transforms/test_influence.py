"""A forgotten permutation is told of when the flow is built, and nothing else is."""

import warnings

import pytest
import torch
from tests.transforms.cases import CASES, made, points

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.numerics.dependence import turned
from pushforward.transforms.influence import ConnectivityWarning


def masked(features=3, **options):
    return T.Autoregressive(features, map=maps.Affine(), hidden=(8,), **options)


def coupling(keep):
    return T.Coupling(len(keep), map=maps.Affine(), keep=keep, hidden=(8,))


AB, BA = [True, True, False], [False, False, True]
AHEAD = T.Compose(masked(), T.Reverse(3))
FORGOTTEN = {
    "one coupling": lambda: (coupling(AB),),
    "one coupling turned round, in columns": lambda: (
        T.Columns(T.Inverse(coupling([True, False])), T.LU(1)),
    ),
    "couplings in columns": lambda: (T.Columns(T.Compose(masked(2), masked(2)), T.LU(1)),),
    "the same in columns": lambda: (
        T.Columns(T.Compose(masked(2), masked(2)), T.Diagonal(1)),
        T.Columns(T.Diagonal(1), masked(2)),
    ),
    "a composition turned twice": lambda: (AHEAD, T.Inverse(AHEAD), masked(), masked()),
    "autoregressions in one order": lambda: (masked(), masked()),
    "their inverses": lambda: (T.Inverse(masked()), T.Inverse(masked())),
    "couplings that keep the same": lambda: (coupling(AB), coupling(AB), coupling(AB)),
    "two couplings": lambda: (coupling(BA), coupling(AB)),
    "a permutation that is undone": lambda: (
        masked(),
        T.Permutation(3, seed=1),
        T.Inverse(T.Permutation(3, seed=1)),
        masked(),
    ),
}
WHOLE = {
    "one autoregression": lambda: (T.Standardize(3), masked()),
    "turned": lambda: (masked(), T.Reverse(3), masked()),
    "other order": lambda: (masked(), masked(order=[2, 1, 0])),
    "a matrix": lambda: (masked(), T.LU(3), masked()),
    "three couplings": lambda: (coupling(AB), coupling(BA), coupling([True, False, True])),
    "features on their own": lambda: (T.Diagonal(3), T.Elementwise(3, map=maps.Affine())),
    "columns that are independent": lambda: (T.Columns(T.LU(2), masked(1)),),
    "a graph": lambda: (masked(adjacency=[[False] * 3, [True, False, False], [False] * 3]),),
    "columns, each of them whole": lambda: (
        T.Columns(T.Compose(masked(2), T.Reverse(2), masked(2)), T.Diagonal(1)),
        T.LU(3),
    ),
    "a composition turned round": lambda: (
        T.Inverse(T.Compose(masked(), T.Reverse(3))),
        T.Reverse(3),
        masked(),
    ),
    "one feature": lambda: (masked(1), masked(1)),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_forgotten_permutation_is_told_of(name):
    with pytest.warns(ConnectivityWarning, match=r"Flow: feature \d of x can never influence"):
        Flow(T.Compose(*FORGOTTEN[name]()), bases.Normal(3))


@pytest.mark.parametrize("name", WHOLE)
def test_what_reaches_everything_or_means_not_to_is_not_told_of(name):
    steps = WHOLE[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConnectivityWarning)
        Flow(T.Compose(*steps), bases.Normal(*steps[0].event_shape))


def test_a_flow_as_base_counts():
    inner = Flow(T.Compose(T.Reverse(3), masked()), bases.Normal(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConnectivityWarning)
        Flow(masked(), inner)


def test_the_warning_names_what_is_missing():
    with pytest.warns(ConnectivityWarning) as seen:
        Flow(T.Compose(masked(2), masked(2)), bases.Normal(2))
    assert str(seen[0].message).startswith(
        "Flow: feature 1 of x can never influence feature 0 of z; put a Permutation, Reverse"
    )
    assert seen[0].filename == __file__


def test_a_saved_flow_is_not_warned_of_again(tmp_path):
    with pytest.warns(ConnectivityWarning):
        flow = Flow(T.Compose(masked(2), masked(2)), bases.Normal(2))
    pf.save(flow, tmp_path / "flow.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConnectivityWarning)
        pf.load(tmp_path / "flow.safetensors")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_what_a_transform_says_of_its_structure_is_so(case, direction):
    """No derivative where it says there is none, and one where it says there is."""
    transform = made(case, 5, 2)
    turned = T.Inverse(transform) if direction == "inverse" else transform
    says = turned.influence()
    if says is None:
        return  # everything, it says
    x, c = points(case, transform, (8,), direction=direction)
    found = torch.zeros_like(says)
    for i in range(8):
        row = None if c is None else c[i]
        jacobian = torch.autograd.functional.jacobian(lambda v, row=row: turned(v, row)[0], x[i])
        found |= jacobian.reshape(says.shape) != 0.0
    assert torch.equal(found, says)


GENERAL = {
    "an order that is not the given one": lambda: (masked(order=[2, 0, 1]), T.Reverse(3)),
    "a permutation and a graph": lambda: (
        T.Permutation(3, order=[2, 0, 1]),
        masked(adjacency=[[False] * 3, [True, False, False], [False] * 3]),
    ),
    "a coupling and a permutation": lambda: (coupling(AB), T.Permutation(3, order=[1, 2, 0])),
    "columns": lambda: (
        T.Reverse(3),
        T.Columns(T.Compose(masked(2), T.Reverse(2)), T.Diagonal(1)),
    ),
}


@pytest.mark.parametrize("name", GENERAL)
@pytest.mark.parametrize("way", [lambda t: t, T.Inverse], ids=["forward", "inverse"])
def test_what_compositions_say_of_their_structure_is_so(name, way):
    """An inverse reaches over several steps, and no further, even where no diagonal is filled."""
    torch.manual_seed(0)
    steps = way(T.Compose(*GENERAL[name]())).double()
    for parameter in steps.parameters():
        parameter.data.normal_(0.0, 0.7)
    x = torch.randn(20, 3, dtype=torch.float64)
    found = torch.stack([torch.autograd.functional.jacobian(lambda v: steps(v)[0], r) for r in x])
    assert torch.equal((found != 0).any(0), steps.influence())


@pytest.mark.parametrize("seed", range(20))
def test_the_pattern_of_an_inverse_is_that_of_the_inverse_matrix(seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    matrix = matrix * (torch.rand(6, 6, generator=generator) < 0.25)
    matrix = matrix + torch.diag(torch.rand(6, generator=generator) + 1.0)
    matrix = matrix[torch.randperm(6, generator=generator)]
    inverse = torch.linalg.inv(matrix)
    assert torch.equal(turned(matrix != 0), inverse.abs() > 1e-12)
