"""Numbers so large that float64 holds none between them, or not even all whole ones."""

import numpy as np
import pytest

import pushforward as pf
from pushforward.errors import DataError
from pushforward.tables import infer_schema, load_matrix

ROWS = 600


def numbers(rows=ROWS):
    return np.random.default_rng(0).normal(size=rows)


def column(values, **options):
    other = np.random.default_rng(1).normal(size=len(values))
    return infer_schema({"a": other, "x": values}, **options).column("x")


@pytest.mark.parametrize(
    "values",
    [
        np.arange(ROWS) + 10**18,
        np.arange(ROWS, dtype=np.uint64) + np.uint64(2**63),  # one number only, as float64
        -np.arange(ROWS) * 2**46,
    ],
)
def test_whole_numbers_that_float64_cannot_tell_apart_are_refused(values):
    with pytest.raises(DataError, match=r"'x' holds whole numbers beyond 2\^53 = 9,007,.*row"):
        column(values)
    with pytest.raises(DataError, match=r"neighbours cannot be told apart; leave it out"):
        column(values, types={"x": "integer"})
    small = values[:50]
    assert len(column(small, types={"x": "categorical"}).labels) == 50


def test_whole_numbers_that_float64_tells_apart_stay_whole_numbers():
    assert column(np.arange(ROWS) * (2**53 // ROWS)).type == "integer"
    assert column(np.arange(ROWS) * float(2**52 // ROWS)).type == "integer"


@pytest.mark.parametrize("scale", [1e10, 1e14, 1e17, 1e25])
def test_numbers_of_a_large_unit_are_not_whole_for_that(scale):
    found = column(numbers() * scale)
    assert (found.type, found.step) == ("real", 0.0)
    if scale > 1e16:
        with pytest.raises(DataError, match=r"beyond 2\^53"):
            column(numbers() * scale, types={"x": "integer"})


@pytest.mark.parametrize("scale", [1e7, 1e9, 1e20])
def test_float32_runs_out_of_fractions_earlier(scale):
    assert column((numbers() * scale + 20.0 * scale).astype(np.float32)).type == "real"
    assert column(np.round(numbers() * 1e5).astype(np.float32)).type == "integer"


def test_a_density_does_not_depend_on_the_unit():
    x = np.random.default_rng(0).normal(size=(200, 3))
    scores = []
    for scale in (1.0, 1e20):
        with pytest.warns(UserWarning, match="rows are few"):
            model = pf.FlowDensity(options={"steps": 30}, random_state=0).fit(x * scale)
        scores.append(model.score(x * scale) + 3 * np.log(scale))
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize("value", [1e20, 10**15, 1e16, -1e-7])
def test_a_large_constant_is_read_as_it_was_written(value):
    table = {"a": numbers(60), "x": np.full(60, value)}
    schema = infer_schema(table)
    assert schema.column("x").type == "constant"
    assert load_matrix(table, schema)[0].shape == (60, 1)
