"""A forgotten permutation is told of when the flow is built, and nothing else is."""

import warnings

import pytest
import torch
from tests.transforms.cases import CASES, made, points

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.transforms.influence import ConnectivityWarning, _patterns


def masked(features=3, **options):
    return T.Autoregressive(features, map=maps.Affine(), hidden=(8,), **options)


def coupling(keep):
    return T.Coupling(len(keep), map=maps.Affine(), keep=keep, hidden=(8,))


AB, BA = [True, True, False], [False, False, True]
FORGOTTEN = {
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
        "Flow: feature 1 of x can never influence feature 0 of z, and 0 more of 4 such pairs"
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
    says = torch.ones(1, dtype=torch.bool)
    for pattern in _patterns(turned):
        if pattern is None:
            return  # everything, it says
        says = pattern if says.ndim == 1 else (pattern.float() @ says.float()) > 0
    x, c = points(case, transform, (8,), direction=direction)
    found = torch.zeros_like(says)
    for i in range(8):
        row = None if c is None else c[i]
        jacobian = torch.autograd.functional.jacobian(lambda v, row=row: turned(v, row)[0], x[i])
        found |= jacobian.reshape(says.shape) != 0.0
    assert torch.equal(found, says)
