"""Sizes are checked in one place: by name, for every part and every recipe."""

import re

import numpy
import pytest
import torch

import pushforward as pf
from pushforward import bases, maps, networks
from pushforward import transforms as T
from pushforward.errors import ArgumentError, InputTypeError

WRONG = [0, -1, 2.5, "2", True, None]
TAKES_FEATURES = {
    "Elementwise": lambda n: T.Elementwise(n, map=maps.Affine()),
    "Coupling": lambda n: T.Coupling(n, map=maps.Affine()),
    "Autoregressive": lambda n: T.Autoregressive(n, map=maps.Affine()),
    "BlockAutoregressive": T.BlockAutoregressive,
    "Planar": T.Planar,
    "Contractive": T.Contractive,
    "Continuous": T.Continuous,
    "Exp": T.Exp,
    "Circle": T.Circle,
    "Simplex": T.Simplex,
    "Normal": bases.Normal,
    "StudentT": bases.StudentT,
    "pf.flows.nsf": pf.flows.nsf,
    "pf.flows.planar": pf.flows.planar,
}


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("who", TAKES_FEATURES)
def test_a_width_that_cannot_be_is_named(who, value):
    with pytest.raises(ArgumentError) as said:
        TAKES_FEATURES[who](value)
    want = f"{who}: features is {value!r}, expected a whole number from 1 up."
    assert str(said.value) == want


@pytest.mark.parametrize("build", [bases.Normal, T.LU, T.Exp, pf.flows.nsf])
def test_shapes_are_no_widths_where_vectors_are_meant(build):
    with pytest.raises(ArgumentError, match=r"features is \(3, 2, 2\), expected a whole number"):
        build((3, 2, 2))
    T.Coupling((3, 2, 2), map=maps.Affine())


@pytest.mark.parametrize("value", [-1, 1.5, "a", True], ids=repr)
@pytest.mark.parametrize("name", ["realnvp", "planar", "ffjord"])
def test_a_context_that_cannot_be_is_named(name, value):
    with pytest.raises(ArgumentError, match=r"context is .*, expected a whole number from 0 up"):
        getattr(pf.flows, name)(2, value)


@pytest.mark.parametrize("hidden", [64, "64", (2.5,), (True,), None], ids=repr)
@pytest.mark.parametrize("name", ["realnvp", "maf", "planar", "bnaf"])
def test_widths_that_cannot_be_are_named(name, hidden):
    with pytest.raises(ArgumentError, match=r"hidden is .*, expected widths such as \(64, 64\)"):
        getattr(pf.flows, name)(2, hidden=hidden)


@pytest.mark.parametrize(
    "build",
    [
        lambda: maps.RationalQuadratic(bins=2.5),
        lambda: maps.Bernstein(degree="3"),
        lambda: maps.DeepSigmoidal(units=1.5),
        lambda: T.LowRank(3, rank=1.5),
        lambda: pf.flows.nsf(2, layers=1.5),
        lambda: pf.flows.nsf(2, layers=None),
        lambda: pf.flows.nsf(2, bins=(3,)),
    ],
)
def test_numbers_of_things_are_whole(build):
    with pytest.raises(ArgumentError, match="expected a whole number from 1 up"):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda value: pf.flows.residual(2, coefficient=value),
        lambda value: T.Coupling(2, map=maps.Affine(), dropout=value),
        lambda value: maps.Affine(bound=value),
        lambda value: T.Circle(2, period=value),
    ],
    ids=["residual", "Coupling", "Affine", "Circle"],
)
@pytest.mark.parametrize("value", ["a", "1", None, True, [0.5], torch.ones(2)], ids=repr)
def test_what_is_a_number_is_nothing_else(build, value):
    with pytest.raises(ArgumentError, match=r" is .*, expected a number\."):
        build(value)


def test_numbers_of_other_libraries_will_do():
    for three in (3, numpy.float32(3), torch.tensor(3.0)):
        assert maps.Affine(bound=three).bound == 3.0


@pytest.mark.parametrize("value", ["a", None, [0.0, "a"]], ids=repr)
def test_what_may_be_a_tensor_is_no_text(value):
    with pytest.raises(ArgumentError, match=r"Normal: loc is .*, expected a number or a tensor\."):
        bases.Normal(2, loc=value)


@pytest.mark.parametrize("seed", ["x", 1.5, True, 2**64, -(2**63) - 1], ids=repr)
def test_seeds_are_whole_numbers_that_torch_takes(seed):
    with pytest.raises(ArgumentError, match=r"seed is .*, expected a whole number of at most 64 b"):
        pf.flows.nsf(2, seed=seed)
    with pytest.raises(ArgumentError, match=r"Permutation: seed is .*, expected a whole number of"):
        T.Permutation(2, seed=seed)
    for taken in (None, 0, numpy.int64(3), -(2**63), 2**64 - 1):
        pf.flows.realnvp(2, layers=1, hidden=(4,), seed=taken)


def test_whole_numbers_of_numpy_will_do():
    flow = pf.flows.realnvp(numpy.int64(2), layers=numpy.int64(4), hidden=(numpy.int64(8),))
    assert flow.event_shape == (2,)


def test_networks_name_themselves():
    with pytest.raises(ArgumentError, match="MLP: hidden is 8, expected widths"):
        networks.MLP(2, 1, 8)


@pytest.mark.parametrize("value", ["no", 1, None], ids=repr)
@pytest.mark.parametrize(
    "build",
    [
        lambda value: pf.flows.iaf(2, gated=value),
        lambda value: pf.flows.maf(2, batch_norm=value),
        lambda value: T.LU(2, shift=value),
        lambda value: bases.Normal(2, learn=value),
    ],
    ids=["iaf", "maf", "LU", "Normal"],
)
def test_what_is_true_or_false_is_nothing_else(build, value):
    with pytest.raises(ArgumentError, match=r" is .*, expected True or False\."):
        build(value)


NO_MAPS = {
    "a class": (lambda: T.Coupling(2, map=maps.Affine), "map is the class Affine, expected a map"),
    "nothing": (lambda: T.Elementwise(2, map=None), "Elementwise: map is a NoneType, expected a"),
    "a network": (
        lambda: T.Autoregressive(2, map=networks.MLP(2, 2, (4,))),
        "Autoregressive: map is a MLP, expected a map such as maps.Affine()",
    ),
    "the kept one": (
        lambda: T.Coupling(2, map=maps.Affine(), kept_map=maps.Affine),
        "Coupling: kept_map is the class Affine, expected a map; write maps.Affine()",
    ),
    "turned round": (lambda: T.Inverse(maps.Affine()), "Inverse: got a Affine, expected a trans"),
}


@pytest.mark.parametrize("name", NO_MAPS)
def test_what_is_no_map_is_said_to_be_none(name):
    build, says = NO_MAPS[name]
    with pytest.raises(InputTypeError, match=re.escape(says)):
        build()


@pytest.mark.parametrize("given", [{"hidden": (8,)}, {"activation": "tanh"}])
@pytest.mark.parametrize(
    "build",
    [
        lambda **more: T.Coupling(2, map=maps.Affine(), **more),
        lambda **more: T.Continuous(2, **more),
    ],
    ids=["Coupling", "Continuous"],
)
def test_what_the_default_network_takes_is_not_given_beside_another(build, given):
    with pytest.raises(ArgumentError, match="beside a network, which it would not reach; leave"):
        build(network=networks.MLP, **given)
