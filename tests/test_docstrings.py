"""Public docstrings say what the signature says, and where the mathematics is from."""

import ast
import inspect
import textwrap
import types

import pytest

import pushforward as pf

ROOMS = [pf.transforms, pf.maps, pf.networks, pf.bases]
CLASSES = {
    f"{room.__name__.split('.')[-1]}.{name}": getattr(room, name)
    for room in ROOMS
    for name in room.__all__
    if inspect.isclass(getattr(room, name))
}
CONTRACTS = {"transforms.Transform", "maps.Map", "bases.Base"}  # they have no constructor to call
PARTS = {name: cls for name, cls in CLASSES.items() if name not in CONTRACTS} | {"Flow": pf.Flow}
RECIPES = {name: recipe.build for name, recipe in pf.flows.RECIPES.items()}

every_part = pytest.mark.parametrize("name", PARTS)
every_recipe = pytest.mark.parametrize("name", RECIPES)


def section(of, title):
    """Lines of a section of a docstring, dedented by one level; None if there is none."""
    body = None
    for line in inspect.getdoc(of).splitlines():
        if line.startswith(f"{title}:"):
            head = line.removeprefix(f"{title}:").strip()
            body = [head] if head else []
        elif body is not None and line and not line.startswith(" "):
            break
        elif body is not None and line.strip():
            body.append(line[4:])
    return body


def documented(of):
    args = section(of, "Args") or []
    return [line.split(":")[0].lstrip("*") for line in args if not line.startswith(" ")]


@every_part
def test_every_parameter_of_a_part_is_documented_and_no_other(name):
    own = PARTS[name].__dict__.get("__init__", lambda self: None)
    assert documented(PARTS[name]) == list(inspect.signature(own).parameters)[1:]


@every_recipe
def test_every_parameter_of_a_recipe_is_documented_and_no_other(name):
    assert documented(RECIPES[name]) == list(inspect.signature(RECIPES[name]).parameters)


@every_part
def test_shapes_are_given(name):
    assert section(PARTS[name], "Shapes")


@every_part
def test_the_cost_of_a_transform_a_map_or_a_base_is_given(name):
    if name.startswith(("transforms.", "maps.", "bases.")):
        assert section(PARTS[name], "Cost")


DOORS = ("__init__", "forward", "inverse", "_forward", "_inverse", "fit", "log_prob", "rsample")
KNOWN = [cls for name, cls in CLASSES.items() if name in CONTRACTS]  # what these refuse, all do


def methods(cls, *names):
    """A class's methods of these names, and those of the package's classes that it derives from."""
    ours = [c for c in cls.__mro__ if c.__module__.startswith("pushforward.") and c not in KNOWN]
    found = (base.__dict__.get(name) for base in ours for name in names)
    return [one for one in found if isinstance(one, types.FunctionType)]


def called(cls, function, node):
    """What a call within a function leads to: methods of the class, functions of the same file."""
    if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "self":
        return methods(cls, node.func.attr)
    other = function.__globals__.get(ast.unparse(node.func))
    near = isinstance(other, types.FunctionType) and other.__module__ == function.__module__
    return [other] if near else []


def raised(cls):
    """Errors that a class raises itself: in its methods, and in the functions of their files."""
    errors, seen, waiting = set(), set(), methods(cls, *DOORS)
    while waiting:
        function = waiting.pop()
        if function not in seen:
            seen.add(function)
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    errors.add(ast.unparse(node.exc.func))
                elif isinstance(node, ast.Call):
                    waiting += called(cls, function, node)
    return errors - {"InputTypeError"}  # of which the annotations tell


@every_part
def test_every_error_that_a_part_raises_is_documented(name):
    documented_errors = " ".join(section(PARTS[name], "Raises") or [])
    assert [error for error in raised(PARTS[name]) if error not in documented_errors] == []


@pytest.mark.parametrize("name", [*PARTS, *RECIPES])
def test_the_source_of_the_mathematics_is_given(name):
    source = " ".join(section({**PARTS, **RECIPES}[name], "Source") or ["missing"])
    known = ("arXiv:" in source) or ("doi:" in source) or ("ICML" in source) or source == "none"
    assert known, source


@pytest.mark.parametrize("name", [*PARTS, *RECIPES])
def test_there_is_an_example(name):
    assert ">>> " in inspect.getdoc({**PARTS, **RECIPES}[name])


@pytest.mark.parametrize("name", [name for name in PARTS if name.startswith("bases.")])
def test_the_unit_of_a_density_is_given(name):
    assert "nats" in inspect.getdoc(PARTS[name])
