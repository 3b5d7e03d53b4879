"""Clusters that may be bent: how many there are, which rows are theirs, and how sure that is."""

import pickle
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_iris, make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import pushforward as pf
from pushforward.errors import ArgumentError, DataError
from pushforward.estimators.gaussian_clusters import GaussianClusters

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # so few rows


@parametrize_with_checks([pf.FlowClusterer(options={"steps": 1}, random_state=0)])
def test_scikit_learn_finds_an_estimator(estimator, check):
    check(estimator)


def quick(*given, **others):
    return pf.FlowClusterer(*given, **{"options": {"steps": 20}, "random_state": 0, **others})


def blobs(rows=150, seed=0, centres=((0.0, 0.0), (8.0, 0.0), (0.0, 9.0))):
    return make_blobs(rows, centers=np.array(centres), random_state=seed)


@pytest.fixture(scope="module")
def moons():
    X, y = make_moons(300, noise=0.08, random_state=0)
    return X, y, pf.FlowClusterer(random_state=0).fit(X)


def test_two_moons_are_two_bent_clusters(moons):
    X, y, model = moons
    assert model.bic_.argmin() + 1 > 4  # plain Gaussians need many
    assert model.n_clusters_ == 2
    assert adjusted_rand_score(y, model.labels_) > 0.95
    other, truth = make_moons(300, noise=0.08, random_state=1)
    assert adjusted_rand_score(truth, model.predict(other)) > 0.95
    # the density is bent, too: a plain mixture of two is worse by half a nat
    from sklearn.mixture import GaussianMixture

    plain = GaussianMixture(2, random_state=0).fit(X).score(other)
    assert model.score_samples(other).mean() > plain + 0.3


@pytest.mark.parametrize("count", [1, 3, 4])
def test_blobs_are_as_many_as_there_are(count):
    centres = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])[:count]
    X, y = make_blobs(240, centers=centres, random_state=count)
    model = quick().fit(X)
    assert model.n_clusters_ == model.bic_.argmin() + 1 == count
    assert adjusted_rand_score(y, model.labels_) > 0.99


def test_valleys_tell_the_number_of_clusters():
    X, _ = make_moons(1000, noise=0.1, random_state=0)
    assert GaussianClusters(X, None, 10).count == 2
    X, _ = make_circles(400, noise=0.05, factor=0.4, random_state=0)
    assert GaussianClusters(X, None, 10).count == 2
    rng = np.random.default_rng(0)
    bent = np.stack((a := rng.normal(size=500), a**2 + 0.3 * rng.normal(size=500)), 1)
    assert GaussianClusters(bent, None, 10).count == 1
    assert GaussianClusters(rng.random((500, 2)), None, 10).count == 1


def test_a_number_that_is_asked_for_is_kept():
    X, y = load_iris(return_X_y=True)
    model = quick(3).fit(X)
    assert model.n_clusters_ == 3
    assert adjusted_rand_score(y, model.labels_) > 0.8
    assert (quick(3).fit_predict(X) == model.labels_).all()
    assert quick(1).fit(X).n_clusters_ == 1
    assert quick(max_clusters=1).fit(X).n_clusters_ == 1


def test_assignments_are_soft():
    X, _ = blobs(400, centres=((0.0, 0.0), (4.0, 0.0)))
    model = quick(2).fit(X)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1.0, rtol=1e-12)
    assert (proba.argmax(1) == model.predict(X)).all()
    # Bayes' rule for two unit normal densities: the logit is 4 (2 - x) one way or the other
    first = model.predict([[0.0, 0.0]])[0]
    truth = 1.0 / (1.0 + np.exp(-4.0 * (2.0 - X[:, 0])))
    assert np.abs(proba[:, first] - truth).mean() < 0.03
    assert 0.05 < model.predict_proba([[2.0, 0.0]])[0, first] < 0.95


def test_far_rows_have_probabilities():
    X, _ = blobs()
    model = quick(3).fit(X)
    proba = model.predict_proba([[1e160, 1e160], [1e308, -1e308], [-1e300, 0.0], [3.0, 1e20]])
    np.testing.assert_allclose(proba.sum(1), 1.0, rtol=1e-12)


def test_clusters_are_numbered_from_the_largest():
    X, _ = make_blobs([20, 100, 50], centers=np.array([[0, 0], [9, 0], [0, 9]]), random_state=0)
    assert np.bincount(quick().fit(X).labels_).tolist() == [100, 50, 20]


def test_samples_are_like_the_rows(moons):
    X, _, model = moons
    rows, labels = model.sample(1500, random_state=0)
    assert rows.shape == (1500, 2)
    np.testing.assert_allclose(rows.mean(0), X.mean(0), atol=0.1)
    assert (labels == model.predict(rows)).all()
    assert abs(np.bincount(labels)[0] / 1500 - np.bincount(model.labels_)[0] / 300) < 0.08


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_of_numbers(kind):
    X, y = blobs()
    frame = kind({"width": X[:, 0], "count": X[:, 1].round().astype(int), "same": [3] * 150})
    model = quick().fit(frame)
    assert adjusted_rand_score(y, model.labels_) > 0.98
    rows, labels = model.sample(5)
    assert type(rows) is type(frame)
    assert rows["count"].dtype == frame["count"].dtype
    assert len(labels) == 5
    line = make_pipeline(StandardScaler(), quick()).set_output(transform="pandas")
    assert adjusted_rand_score(y, line.fit_predict(pd.DataFrame(X, columns=["a", "b"]))) > 0.98


def test_it_works_in_searches():
    X, _ = blobs()
    search = GridSearchCV(quick(), {"n_clusters": [1, 3]}, cv=2).fit(X)
    assert search.best_params_ == {"n_clusters": 3}


def test_the_same_seed_gives_the_same_and_a_pickle_holds_no_module(moons):
    X, _ = blobs()
    first, second, other = (quick(random_state=seed).fit(X) for seed in (0, 0, 1))
    assert (first.predict_proba(X) == second.predict_proba(X)).all()
    assert (first.score_samples(X) != other.score_samples(X)).any()
    X, _, model = moons
    content = pickle.dumps(model)
    assert b"torch.nn" not in content
    again = pickle.loads(content)
    assert (again.predict_proba(X) == model.predict_proba(X)).all()
    assert (again.labels_ == model.labels_).all()


def test_a_hundred_rows_take_a_second():
    X, _ = blobs(100)
    quick().fit(X)  # what is loaded once
    began = time.process_time()
    pf.FlowClusterer(random_state=0).fit(X)
    assert time.process_time() - began < 1.5  # 0.5 s on a quiet machine


def test_what_cannot_be_used_is_refused():
    X, _ = blobs(30)
    with pytest.raises(ArgumentError, match="n_clusters is 0, expected a whole number from 1 up"):
        quick(0).fit(X)
    with pytest.raises(ArgumentError, match=r"max_clusters is 2\.5, expected a whole number"):
        quick(max_clusters=2.5).fit(X)
    with pytest.raises(ArgumentError, match="n_clusters is 31, and X has 30 rows"):
        quick(31).fit(X)
    frame = pd.DataFrame({"x": X[:, 0], "kind": ["a"] * 30})
    with pytest.raises(DataError, match="column 'kind' holds String, expected numbers; leave it"):
        quick().fit(frame)
    with pytest.raises(DataError, match="all columns of X have the same value in every row"):
        quick().fit(np.ones((30, 2)))
