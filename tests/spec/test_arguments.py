"""What a constructor or a recipe takes is shown; what it does not take is said in a sentence."""

import inspect
import pydoc

import pytest

import pushforward as pf
from pushforward import bases, maps
from pushforward import transforms as T
from pushforward.errors import InputTypeError


class Narrow(T.Coupling):
    """A transform from outside the package."""

    def __init__(self, width, *, deep=3, **more):
        super().__init__(width, map=maps.Affine(), **more)


class Silent(T.Coupling):
    """One that leaves the constructor as it was."""


SHOWN = {
    T.Coupling: "features map keep hidden network context activation dropout kept_map periodic "
    "period residual",
    bases.Mixture: "components weights learn context hidden",
    maps.Additive: "",
    pf.Flow: "transform base embed",
    pf.flows.nsf: "features context layers hidden bins affine autoregressive direction mix "
    "activation dropout residual start base seed",
    Narrow: "width deep more",
    Silent: "features map keep hidden network context activation dropout kept_map periodic period "
    "residual",
}


@pytest.mark.parametrize("what", SHOWN, ids=lambda what: what.__name__)
def test_the_signature_is_that_of_the_constructor(what):
    assert " ".join(inspect.signature(what).parameters) == SHOWN[what]


def test_defaults_are_shown_and_so_they_are_by_help():
    assert inspect.signature(T.Coupling).parameters["dropout"].default == 0.0
    assert inspect.signature(bases.Mixture).parameters["components"].kind.name == "VAR_POSITIONAL"
    shown = pydoc.plain(pydoc.render_doc(T.Coupling))
    assert "class Coupling(" in shown
    assert "hidden: 'Sequence[int]' = (128, 128)" in shown.split("Method resolution")[0]


def test_a_part_is_called_as_before():
    assert list(inspect.signature(T.LU(2)).parameters) == ["args", "kwargs"]  # as any module


REFUSED = {
    "a wrong name": (
        lambda: pf.flows.nsf(2, bin=8),
        "pf.flows.nsf: there is no argument 'bin'. Did you mean 'bins'? It takes features, "
        "context, layers, hidden, bins, affine, autoregressive, direction, mix, activation, "
        "dropout, residual, start, base, seed.",
    ),
    "of a class": (
        lambda: bases.Mixture(bases.Normal(2), weight=[1.0]),
        "Mixture: there is no argument 'weight'. Did you mean 'weights'? It takes *components, "
        "weights, learn, context, hidden.",
    ),
    "the name of one that is missing": (
        lambda: T.Elementwise(2, mapp=maps.Affine()),
        "Elementwise: there is no argument 'mapp'. Did you mean 'map'? It takes features, map, "
        "context, hidden.",
    ),
    "like nothing": (
        lambda: T.Reverse(2, colour="red"),
        "Reverse: there is no argument 'colour'. It takes features.",
    ),
    "of none": (
        lambda: maps.Additive(box=2),
        "Additive: there is no argument 'box'. It takes none.",
    ),
    "near one that is given": (
        lambda: T.Reverse(2, featurs=2),
        "Reverse: there is no argument 'featurs'. It takes features.",
    ),
    "missing": (
        lambda: T.Coupling(2),
        "Coupling: map is missing; write Coupling(features, map=…).",
    ),
    "a recipe's": (
        lambda: pf.flows.nsf(bins=8),
        "pf.flows.nsf: features is missing; write pf.flows.nsf(features).",
    ),
    "without a name": (
        lambda: T.Coupling(2, maps.Affine()),
        "Coupling: got 2 arguments without a name, expected at most 1 (features); write the others "
        "by name, such as map=….",
    ),
    "where there is none": (
        lambda: maps.Additive(3),
        "Additive: got 1 arguments without a name, expected none.",
    ),
    "twice": (
        lambda: pf.flows.nsf(2, features=2),
        "pf.flows.nsf: features is given by its place and by its name; leave one of them out.",
    ),
    "a user's": (lambda: Narrow(deep=2), "Narrow: width is missing; write Narrow(width)."),
    "a user's name": (
        lambda: Silent(2, map=maps.Affine(), keeps=None),
        "Silent: there is no argument 'keeps'. Did you mean 'keep'? It takes features, map, keep, "
        "hidden, network, context, activation, dropout, kept_map, periodic, "
        "period, residual.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_does_not_fit_is_refused_in_a_sentence(name):
    build, says = REFUSED[name]
    with pytest.raises(InputTypeError) as caught:
        build()
    assert str(caught.value) == says


def test_what_a_users_constructor_takes_is_left_to_it():
    assert Narrow(2, deep="x", context=3).context == 3
