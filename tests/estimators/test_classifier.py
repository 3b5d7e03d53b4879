"""Classes by densities: as good as Bayes' rule allows, and sure of no more than they know."""

import datetime
import pickle
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_iris, load_wine, make_classification, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import pushforward as pf
from pushforward.errors import ArgumentError, DataError
from pushforward.estimators.calibration import Calibration, calibrated

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # so few rows

EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": (
        "which rows are held out, the noise that blurs them, batches and weights at the start are "
        "random: a row of weight two is not the same as two rows in them"
    )
}


@parametrize_with_checks(
    [pf.FlowClassifier(options={"steps": 1}, random_state=0)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learn_finds_an_estimator(estimator, check):
    check(estimator)


def quick(**given):
    return pf.FlowClassifier(**{"options": {"steps": 20}, "random_state": 0, **given})


def groups(rows, seed=0, shares=(0.5, 0.3, 0.2)):
    """Three normal classes in two columns, and their true log-densities in each."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, size=rows, p=shares)
    centres, widths = np.array([[0.0, 0.0], [2.0, 1.0], [-1.0, 2.0]]), np.array([1.0, 0.6, 1.5])
    X = centres[y] + widths[y][:, None] * rng.normal(size=(rows, 2))
    apart = (X[:, None] - centres) / widths[:, None]
    log_p = -0.5 * (apart**2).sum(-1) - 2.0 * np.log(widths) - np.log(2.0 * np.pi)
    return X, y, log_p


def bayes(log_p, shares=(0.5, 0.3, 0.2)):
    joint = log_p + np.log(shares)
    return np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])


@pytest.fixture(scope="module")
def three():
    X, y, _ = groups(1000)
    return pf.FlowClassifier(random_state=0, options={"steps": 100}).fit(X, y)


def test_probabilities_are_close_to_those_of_bayes_rule(three):
    X, y, log_p = groups(4000, seed=1)
    proba = three.predict_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.exp(three.predict_log_proba(X)), proba)
    # about a hundredth of a nat for what 1000 rows cannot tell
    assert log_loss(y, proba) < log_loss(y, bayes(log_p)) + 0.03
    assert np.abs(proba - bayes(log_p)).mean() < 0.04
    for k in range(3):  # rows said to be of a class with a probability are so with it
        likely = (proba[:, k] > 0.6) & (proba[:, k] < 0.9)
        assert abs(proba[likely, k].mean() - (y[likely] == k).mean()) < 0.08


def test_the_density_of_a_row_is_that_of_all_classes(three):
    X, _, log_p = groups(500, seed=2)
    truth = np.logaddexp.reduce(log_p + np.log([0.5, 0.3, 0.2]), axis=1)
    assert np.abs(three.score_samples(X) - truth).mean() < 0.15
    assert three.score_samples([[30.0, -30.0]])[0] < truth.min() - 10.0


@pytest.mark.parametrize(("load", "least"), [(load_iris, 0.94), (load_wine, 0.95)])
def test_small_tables_are_told_as_well_as_by_a_logistic_regression(load, least):
    X, y = load(return_X_y=True)
    proba = cross_val_predict(quick(), X, y, cv=3, method="predict_proba")
    rival = make_pipeline(StandardScaler(), LogisticRegression())
    other = cross_val_predict(rival, X, y, cv=3, method="predict_proba")
    assert (proba.argmax(1) == y).mean() >= least
    assert log_loss(y, proba) < log_loss(y, other) + 0.02


def test_classes_may_be_bent():
    X, y = make_moons(900, noise=0.2, random_state=0)
    model = pf.FlowClassifier(random_state=0, options={"steps": 150}).fit(X[:600], y[:600])
    assert model.score(X[600:], y[600:]) > 0.92  # a linear one has 0.86


def test_columns_that_are_sums_of_others_are_no_harm():
    X, y = make_classification(300, random_state=0)  # two of its columns are
    assert quick().fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.8


def test_a_temperature_undoes_what_densities_exaggerate():
    _, y, log_p = groups(3000)
    shares = np.array([0.5, 0.3, 0.2])
    found = calibrated(5.0 * log_p, y, None, shares)
    assert found.temperature == pytest.approx(5.0, rel=0.15)
    assert calibrated(log_p, y, None, shares).temperature == pytest.approx(1.0, rel=0.15)
    # of densities that tell nothing the priors are left
    rng = np.random.default_rng(0)
    wrong = calibrated(30.0 * rng.normal(size=log_p.shape), y, None, shares)
    assert np.abs(np.exp(wrong.log_probabilities(log_p, shares)) - shares).max() < 0.1
    # and of rows that no class has a density for
    nowhere = Calibration().log_probabilities(np.full((1, 3), -np.inf), shares)
    np.testing.assert_allclose(np.exp(nowhere), shares[None])


def test_labels_may_be_anything():
    X, y, _ = groups(200)
    for labels in (["oak", "fir", "elm"], [7.0, -1.0, 3.0], [True, False, True]):
        named = np.array(labels)[y]
        model = quick().fit(X, named)
        assert list(model.classes_) == sorted(set(labels))
        assert model.predict(X).dtype == named.dtype
        assert model.score(X, named) > 0.7
    model = quick().fit(X, np.array(["oak", "fir", "elm"], dtype=object)[y])
    assert set(model.predict(X)) == {"oak", "fir", "elm"}


def test_a_class_of_one_row_and_more_classes_than_rows_to_learn_from():
    X, y, _ = groups(60)
    y[0] = 3
    X[0] = [50.0, 50.0]
    model = quick().fit(X, y)
    assert model.predict([[50.0, 50.0]])[0] == 3
    assert np.isfinite(model.predict_log_proba(X)).all()
    each = quick().fit(X[:12], np.arange(12))
    assert each.predict_proba(X).shape == (60, 12)
    assert np.isfinite(each.predict_proba(X)).all()


def test_one_class_only():
    X, _, _ = groups(50)
    model = quick().fit(X, ["a"] * 50)
    assert (model.predict(X) == "a").all()
    assert (model.predict_proba(X) == 1.0).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert model.sample(3)[0].shape == (3, 2)


def test_a_class_without_weight_is_never_predicted():
    X, y, _ = groups(150)
    model = quick().fit(X, y, sample_weight=(y != 1).astype(float))
    assert model.priors_[1] == 0.0
    assert (model.predict_proba(X)[:, 1] == 0.0).all()
    assert set(model.sample(50)[1]) == {0, 2}
    with pytest.raises(ArgumentError, match=r"y holds 1, expected one of the classes .* 0, 2"):
        model.sample(5, y=1)


def test_priors_take_the_place_of_shares():
    X, y, _ = groups(200)
    even = quick(priors=[1, 1, 1]).fit(X, y)
    np.testing.assert_allclose(even.priors_, 1 / 3)
    assert (even.predict(X) == 2).sum() > (quick().fit(X, y).predict(X) == 2).sum()
    with pytest.raises(ArgumentError, match=r"priors are \[1, 1\], expected 3 numbers"):
        quick(priors=[1, 1]).fit(X, y)


def test_samples_are_of_the_classes_that_are_asked_for(three):
    rows, y = three.sample(2000, random_state=0)
    np.testing.assert_allclose(np.bincount(y) / 2000, three.priors_, atol=0.045)
    rows, y = three.sample(1000, y=1, random_state=0)
    assert (y == 1).all()
    np.testing.assert_allclose(rows.mean(0), [2.0, 1.0], atol=0.15)
    rows, y = three.sample(3, y=[2, 0, 1], random_state=0)
    assert y.tolist() == [2, 0, 1]
    assert (rows == three.sample(3, y=[2, 0, 1], random_state=0)[0]).all()


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_hold_categories_whole_numbers_and_gaps(kind):
    rng = np.random.default_rng(0)
    y = rng.choice(["cat", "dog"], 300)
    dog = y == "dog"
    weight = rng.normal(4.0 + 8.0 * dog, 1.0 + dog)
    frame = kind(
        {
            "colour": np.where(dog == (rng.random(300) < 0.8), "brown", "grey"),
            "age": rng.integers(1, 12, 300),
            "weight": np.where(rng.random(300) < 0.3, np.nan, weight),
            "born": [datetime.date(2020, 1, 1 + int(d)) for d in rng.integers(0, 28, 300)],
        }
    )
    model = quick(missing="model", options={"steps": 60, "lr": 1e-2}).fit(frame, y)
    assert model.score(frame, y) > 0.85  # 0.8 by the colour alone
    assert list(model.feature_names_in_) == ["colour", "age", "weight", "born"]
    rows, _ = model.sample(10)
    assert type(rows) is type(frame)
    assert rows["age"].dtype == frame["age"].dtype
    assert set(rows["colour"]) <= {"brown", "grey"}
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(frame) == model.predict_proba(frame)).all()


def test_it_works_in_pipelines_and_searches():
    X, y, _ = groups(150)
    names = ["a", "b"]
    line = make_pipeline(StandardScaler(), quick()).set_output(transform="pandas")
    line.fit(pd.DataFrame(X, columns=names), pd.Series(y))
    assert list(line[-1].feature_names_in_) == names
    assert cross_val_score(quick(), X, y, cv=2, scoring="neg_log_loss").mean() > -0.9
    search = GridSearchCV(quick(), {"priors": [None, [1, 1, 1]]}, cv=2).fit(X, y)
    assert search.best_estimator_.predict(X).shape == (150,)


def test_the_same_seed_gives_the_same_and_a_pickle_holds_no_module(three):
    X, y, _ = groups(100)
    first, second, other = (quick(random_state=seed).fit(X, y) for seed in (0, 0, 1))
    assert (first.predict_proba(X) == second.predict_proba(X)).all()
    assert (first.predict_proba(X) != other.predict_proba(X)).any()
    content = pickle.dumps(three)
    assert b"torch.nn" not in content
    again = pickle.loads(content)
    assert (again.predict_proba(X) == three.predict_proba(X)).all()
    assert (again.score_samples(X) == three.score_samples(X)).all()


def test_a_hundred_rows_take_a_second():
    X, y, _ = groups(100)
    quick().fit(X, y)  # what is loaded once
    began = time.process_time()
    pf.FlowClassifier(random_state=0).fit(X, y)
    assert time.process_time() - began < 1.0  # 0.4 s on a quiet machine


def test_what_cannot_be_used_is_refused():
    X, y, _ = groups(50)
    with pytest.raises(ArgumentError, match="missing is 'drop', expected 'refuse' or 'model'"):
        quick(missing="drop").fit(X, y)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        quick().fit(X, X[:, 0])
    frame = pd.DataFrame({"kind": np.where(y > 0, "a", "b"), "x": X[:, 0]})
    model = quick().fit(frame, y)
    with pytest.raises(DataError, match="column 'kind' holds 'c' in row 1, which no training row"):
        model.predict(frame.assign(kind="c"))
    with pytest.raises(ArgumentError, match="n_samples is 0, expected 1 or more"):
        model.sample(0)
