"""FlowRegressor: distributions of targets given arrays and tables, and clear words for bad ones."""

import pickle
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pushforward as pf
from pushforward.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 3))
SPREAD = np.where(X[:, 1] > 0, 1.0, 0.3)
Y = 20.0 + 5.0 * (X[:, 0] + SPREAD * RNG.normal(size=240))
BOTH = np.column_stack((Y, 0.1 * Y + RNG.normal(size=240)))


def quick(**options):
    return pf.FlowRegressor(**{"members": 2, "hidden": (32,), "steps": 60, **options})


@pytest.fixture(scope="module")
def one():
    return quick(members=3, steps=200, random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def two():
    return quick(steps=150, random_state=0).fit(X, BOTH)


def table(rows=200, gaps=False):
    rng = np.random.default_rng(1)
    kind = rng.choice(["oak", "fir", "elm"], rows)
    height = rng.normal(20.0, 5.0, rows)
    y = height + 10.0 * (kind == "oak") + rng.normal(size=rows)
    if gaps:
        height[::7] = np.nan
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), unit="D")
    frame = pd.DataFrame(
        {"kind": kind, "height": height, "day": days, "old": rng.random(rows) > 0.5}
    )
    return frame.assign(same=3.0), y


# ---------------------------------------------------------------------- one target


def test_the_mean_explains_and_intervals_hold_what_they_say(one):
    assert one.score(X, Y) > 0.6  # 0.65 of the variance can be told from X
    interval = one.predict_interval(X, 0.9)
    held = (interval[:, 0] <= Y) & (interval[:, 1] >= Y)
    assert 0.8 < held.mean() < 0.99
    width = interval[:, 1] - interval[:, 0]
    assert width[X[:, 1] > 0.5].mean() > 1.7 * width[X[:, 1] < -0.5].mean()


def test_quantiles_are_in_order_and_the_interval_and_the_median_are_among_them(one):
    quantiles = one.predict_quantiles(X[:20], [0.05, 0.5, 0.95])
    assert quantiles.shape == (20, 3)
    assert (np.diff(quantiles, axis=1) > 0).all()
    np.testing.assert_allclose(one.predict_interval(X[:20]), quantiles[:, [0, 2]], rtol=1e-9)
    median = clone(one).set_params(point="median", steps=5).fit(X, Y)
    np.testing.assert_allclose(median.predict(X), median.predict_quantiles(X, 0.5)[:, 0])
    assert one.predict_quantiles(X[:2]).shape == (2, 3)


def test_log_densities_integrate_to_one_in_the_unit_of_the_target(one):
    y = np.linspace(-300.0, 300.0, 6001)
    density = np.exp(one.log_prob(np.repeat(X[:1], len(y), 0), y))
    np.testing.assert_allclose(np.trapezoid(density, y), 1.0, atol=2e-3)
    in_cents = clone(one).fit(X, 100.0 * Y)  # rounding apart, the same density per cent
    np.testing.assert_allclose(
        in_cents.log_prob(X, 100.0 * Y), one.log_prob(X, Y) - np.log(100.0), atol=0.05
    )


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_targets_have_any_unit(unit):
    model = quick(steps=20, random_state=0).fit(X, Y * unit)
    same = quick(steps=20, random_state=0).fit(X, Y)
    np.testing.assert_allclose(model.predict(X) / unit, same.predict(X), rtol=1e-4)


def test_samples_are_drawn_from_the_density(one):
    drawn = one.sample(X[:3], 2000, random_state=0)
    assert drawn.shape == (3, 2000)
    quantiles = one.predict_quantiles(X[:3], [0.25, 0.75])
    for row, (low, high) in zip(drawn, quantiles, strict=True):
        assert abs((row < low).mean() - 0.25) < 0.04  # four standard errors
        assert abs((row < high).mean() - 0.75) < 0.04
    np.testing.assert_allclose(drawn.mean(1), one.predict(X[:3]), atol=0.5)
    assert (drawn == one.sample(X[:3], 2000, random_state=0)).all()
    assert one.sample(X[:3]).shape == (3, 1)


def test_figures_of_a_row_do_not_depend_on_the_rows_beside_it(one, two):
    for model in (one, two):
        for figure in (model.predict, model.predict_interval):
            np.testing.assert_allclose(figure(X)[7:9], figure(X[7:9]), rtol=1e-7)


def test_the_same_seed_gives_the_same_and_the_callers_random_state_stays():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (quick(steps=5, random_state=3).fit(X, Y) for _ in range(2))
    other = quick(steps=5, random_state=4).fit(X, Y)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert (first.log_prob(X, Y) == second.log_prob(X, Y)).all()
    assert (first.log_prob(X, Y) != other.log_prob(X, Y)).any()


def test_it_goes_through_a_pickle_with_tensors_and_json_alone(one):
    content = pickle.dumps(one)
    assert b"torch" not in content  # no module of PyTorch, which a pickle could run
    again = pickle.loads(content)
    assert (again.predict_interval(X) == one.predict_interval(X)).all()
    assert (again.log_prob(X, Y) == one.log_prob(X, Y)).all()


def test_the_density_is_a_part_that_is_saved_alone(one, tmp_path):
    chain = pf.load(pf.save(one.model_, tmp_path / "density.safetensors"))
    got = chain.log_prob(torch.from_numpy(Y)[:, None], torch.from_numpy(X))
    np.testing.assert_allclose(got.detach().numpy(), one.log_prob(X, Y), rtol=0, atol=1e-12)


def test_a_hundred_rows_take_a_second():
    quick(steps=2).fit(X, Y)  # what is loaded once
    began = time.process_time()
    pf.FlowRegressor(random_state=0).fit(X[:100], Y[:100])
    assert time.process_time() - began < 1.5  # 0.4 s on a quiet machine


# ---------------------------------------------------------------------- several targets


def test_several_targets_are_predicted_jointly(two):
    assert two.predict(X).shape == (240, 2)
    assert two.predict_quantiles(X[:5], [0.1, 0.9]).shape == (5, 2, 2)
    assert two.predict_interval(X[:5]).shape == (5, 2, 2)
    assert two.sample(X[:5], 4).shape == (5, 4, 2)
    assert two.log_prob(X, BOTH).shape == (240,)
    assert two.n_targets_ == 2
    assert two.score(X, BOTH) > 0.3
    # the second hangs on the first: jointly they are likelier than each by itself
    alone = quick(steps=150, random_state=0).fit(X, BOTH[:, 1]).log_prob(X, BOTH[:, 1])
    first = quick(steps=150, random_state=0).fit(X, BOTH[:, 0]).log_prob(X, BOTH[:, 0])
    assert two.log_prob(X, BOTH).mean() > (first + alone).mean()


def test_far_rows_have_intervals_that_hold_their_draws(one, two):
    far = np.array([[1e20, 0.0, 0.0], [0.0, -1e300, 0.0], [1e308, 1e308, -1e308], [1e4, 1.0, 0.0]])
    interval = one.predict_interval(far)
    assert np.isfinite(interval).all()
    drawn = one.sample(far, 400, random_state=0)
    held = (drawn >= interval[:, :1]) & (drawn <= interval[:, 1:])
    np.testing.assert_allclose(held.mean(1), 0.9, atol=0.06)  # four standard errors
    for figure in (one.predict(far), one.log_prob(far, Y[:4]), two.predict_interval(far)):
        assert np.isfinite(figure).all()


def test_quantiles_of_extreme_levels_are_there_or_refused(one):
    levels = [1e-12, 1e-9, 0.5, 1.0 - 1e-9, 1.0 - 1e-12]
    found = one.predict_quantiles(X[:20], levels)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1) > 0).all()
    with pytest.raises(ArgumentError, match="between 0 and 1, at least 1e-12 away from both"):
        one.predict_quantiles(X[:1], [1e-300])
    with pytest.raises(ArgumentError, match="expected a probability between 0 and 1 - 2e-12"):
        one.predict_interval(X[:1], 1.0 - 1e-15)


def test_the_mean_of_two_modes_is_that_of_the_density():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, size=(400, 1))
    y = rng.choice([-1.0, 1.0], 400, p=[0.4, 0.6]) * (1.5 + x[:, 0]) + 0.05 * rng.normal(size=400)
    model = quick(steps=300, random_state=0).fit(x, y)
    grid = np.linspace(-20.0, 20.0, 20_001)
    for at in (-0.9, 0.1, 0.8):
        density = np.exp(model.log_prob(np.full((len(grid), 1), at), grid))
        mean = np.trapezoid(grid * density, grid) / np.trapezoid(density, grid)
        assert abs(model.predict([[at]])[0] - mean) < 1e-3 * y.std()


def test_the_mean_of_a_later_target_is_that_of_its_draws(two):
    drawn = two.sample(X[:3], 3000, random_state=0)
    spread = drawn.std(1)
    # 64 points in the place of draws are as good as about 1000 of these
    np.testing.assert_array_less(np.abs(drawn.mean(1) - two.predict(X[:3])), 0.15 * spread)


def test_a_target_keeps_the_axis_it_came_in_with():
    model = quick(steps=5).fit(X, Y[:, None])
    assert model.predict(X).shape == (240, 1)
    assert model.predict_interval(X).shape == (240, 2, 1)


# ---------------------------------------------------------------------- tables


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.from_pandas], ids=["pandas", "polars"])
def test_frames_hold_categories_dates_and_truth_values(kind):
    frame, y = table()
    model = quick(steps=150, random_state=0).fit(kind(frame), y)
    assert model.score(kind(frame), y) > 0.8  # without the kind of tree 0.5
    shuffled = frame.sample(frac=1.0, random_state=0)
    np.testing.assert_allclose(
        model.predict(kind(shuffled)), model.predict(kind(frame))[shuffled.index], rtol=1e-9
    )
    assert list(model.feature_names_in_) == list(frame.columns)
    other = kind(frame.assign(same=9.0))  # nothing was learned from a constant column
    np.testing.assert_allclose(model.predict(other), model.predict(kind(frame)))


def test_gaps_are_modelled_or_dropped_or_refused():
    frame, y = table(gaps=True)
    model = quick(steps=150, missing="model", random_state=0).fit(frame, y)
    assert np.isfinite(model.predict(frame)).all()
    there = frame["height"].notna()
    interval = model.predict_interval(frame)
    width = interval[:, 1] - interval[:, 0]
    assert width[~there].mean() > 1.3 * width[there].mean()
    dropped = quick(steps=5, missing="drop").fit(frame, y)
    assert (np.isfinite(dropped.predict(frame)) == there).all()
    assert np.isnan(dropped.log_prob(frame[~there], y[~there])).all()
    with pytest.raises(DataError, match="column 'height' has 29 missing values, the first in row"):
        quick().fit(frame, y)
    array = np.where(X > 1.5, np.nan, X)
    for missing, finite in (("model", 1.0), ("drop", (~np.isnan(array).any(1)).mean())):
        model = quick(steps=5, missing=missing).fit(array, Y)
        assert np.isfinite(model.predict(array)).mean() == finite
    with pytest.raises(ValueError, match="Input X contains NaN"):
        quick().fit(array, Y)


def test_types_say_what_a_column_is():
    angle = RNG.uniform(0.0, 360.0, 200)
    y = np.cos(np.radians(angle)) + 0.1 * RNG.normal(size=200)
    model = quick(steps=60, types={"x0": "circular:360"}, random_state=0).fit(angle[:, None], y)
    np.testing.assert_allclose(model.predict([[1.0]]), model.predict([[361.0]]), rtol=1e-9)


def test_numbers_are_numbers_however_few_there_are():
    stars = pd.DataFrame({"stars": RNG.integers(1, 6, 200)})
    model = quick(steps=60, random_state=0).fit(stars, 2.0 * stars["stars"] + RNG.normal(size=200))
    between = model.predict(pd.DataFrame({"stars": [2, 2.5, 3]}))
    assert between[0] < between[1] < between[2]


# ---------------------------------------------------------------------- among others


def test_it_works_in_pipelines_searches_and_cross_validation():
    line = make_pipeline(StandardScaler(), quick(random_state=0)).set_output(transform="pandas")
    line.fit(pd.DataFrame(X, columns=["a", "b", "c"]), pd.Series(Y))
    assert line.predict(pd.DataFrame(X, columns=["a", "b", "c"])).shape == (240,)
    assert cross_val_score(quick(steps=40), X, Y, cv=2).shape == (2,)
    search = GridSearchCV(quick(steps=20), {"point": ["mean", "median"]}, cv=2).fit(X, Y)
    assert search.best_estimator_.predict(X).shape == (240,)
    logs = TransformedTargetRegressor(quick(steps=20), func=np.log, inverse_func=np.exp)
    assert logs.fit(X, np.abs(Y) + 1.0).predict(X).shape == (240,)


def test_rows_count_by_their_weights():
    y = Y + 30.0 * (np.arange(240) % 2)
    weights = (np.arange(240) % 2 == 0).astype(float)
    model = quick(random_state=0).fit(X, y, sample_weight=weights)
    half = quick(random_state=0).fit(X[::2], y[::2])
    np.testing.assert_allclose(model.predict(X), half.predict(X))  # a row of weight 0 is none


def test_a_rounded_target_gets_no_spikes():
    rng = np.random.default_rng(2)
    grades = rng.integers(1, 4, 200).astype(float)
    model = pf.FlowRegressor(members=2, steps=250, random_state=0).fit(X[:200], grades)
    assert model.log_prob(X[:200], grades).max() < 0.3  # one over the step is 0


# ---------------------------------------------------------------------- bad input


def test_bad_targets_are_named():
    with pytest.raises(DataError, match=r"y is 3 in all 240 rows, so that its density is infinite"):
        quick().fit(X, np.full(240, 3.0))
    with pytest.raises(DataError, match=r"target 2 of y is 1 in all 240 rows"):
        quick().fit(X, np.column_stack((Y, np.ones(240))))
    with pytest.raises(DataError, match=r"fit: y contains NaN in row 6, expected a number"):
        quick().fit(X, np.where(np.arange(240) == 5, np.nan, Y))
    with pytest.raises(DataError, match=r"contains infinity in row 6 of target 2"):
        quick().fit(X, np.column_stack((Y, np.where(np.arange(240) == 5, np.inf, Y))))
    with pytest.raises(DataError, match=r"y holds what is no number \(could not convert string"):
        quick().fit(X, np.where(Y > 20.0, "many", "few"))
    with pytest.raises(DataError, match="it requires y to be passed"):
        quick().fit(X, None)
    with pytest.raises(DataError, match="X has 240 rows and y 100, expected the same number"):
        quick().fit(X, Y[:100])


def test_tables_of_a_row_or_two():
    for rows in (X[:1], pd.DataFrame(X[:1], columns=["a", "b", "c"])):
        with pytest.raises(ValueError, match=r"1 sample"):
            quick().fit(rows, Y[:1])
    with pytest.warns(UserWarning, match="there are 2 rows, of which a density can hardly be lear"):
        model = quick(steps=2).fit(X[:2], Y[:2])
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(DataError, match="1 rows are complete and have a weight above zero"):
        quick().fit(X, Y, sample_weight=np.arange(240) == 3)


def test_other_columns_at_predict_are_named(one):
    with pytest.raises(ValueError, match="X has 2 features, but FlowRegressor is expecting 3"):
        one.predict(X[:, :2])
    frame, y = table()
    model = quick(steps=2).fit(frame, y)
    with pytest.raises(
        ValueError, match="Feature names seen at fit time, yet now missing:\n- kind"
    ):
        model.predict(frame.drop(columns="kind").assign(sort="oak"))
    with pytest.raises(DataError, match=r"column 'kind' holds 'ash' in row 4, which no training r"):
        model.predict(frame.assign(kind=np.where(np.arange(200) == 3, "ash", frame["kind"])))
    with pytest.raises(DataError, match=r"column 'height' holds text \('tall' in row 1\)"):
        model.predict(frame.assign(height="tall"))
    with pytest.raises(DataError, match="types names 'hight', which is no column of X"):
        quick(types={"hight": "positive"}).fit(frame, y)
    with pytest.raises(DataError, match="X has the same value in every row of each column"):
        quick().fit(frame[["same"]], y)
    with pytest.raises(DataError, match="y has 2 targets, expected 1, as in fit"):
        model.log_prob(frame, np.column_stack((y, y)))


def test_arguments_are_checked(one):
    for wrong, match in (
        ({"point": "mode"}, "point is 'mode', expected 'mean' or 'median'"),
        ({"missing": "fill"}, "missing is 'fill', expected 'refuse' or 'drop' or 'model'"),
        ({"members": 0}, "members is 0, expected a whole number from 1 up"),
        ({"hidden": 64}, r"hidden is 64, expected widths such as \(64, 64\)"),
        ({"hidden": (64, 0)}, r"hidden is \(64, 0\), expected widths of at least 1"),
        ({"steps": 0.5}, "steps is 0.5, expected a whole number from 1 up"),
    ):
        with pytest.raises(ArgumentError, match=match):
            quick(**wrong).fit(X, Y)
    with pytest.raises(ArgumentError, match=r"quantiles is \[0, 0.5\], expected numbers between"):
        one.predict_quantiles(X, [0, 0.5])
    with pytest.raises(ArgumentError, match="level is 90, expected a probability between 0 and"):
        one.predict_interval(X, 90)
    with pytest.raises(ArgumentError, match="n_samples is 0, expected at least 1"):
        one.sample(X, 0)
    with pytest.raises(NotFittedError):
        quick().predict(X)
