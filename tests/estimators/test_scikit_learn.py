"""The estimators keep scikit-learn's manners: its own checks, of every one of them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import pushforward as pf
from pushforward.errors import ArgumentError, DataError

QUICK = {"steps": 10}
# What scikit-learn expects of all estimators, and why these ones do not do it.
RANDOM = (
    "which rows are held out, the batches and the weights at the start are random: a row of weight "
    "two is not the same as two rows in them"
)
EXPECTED = {"check_sample_weight_equivalence_on_dense_data": RANDOM}

ESTIMATORS = [
    pf.FlowDensity(options=QUICK, random_state=0),
    pf.FlowOutlierDetector(options=QUICK, random_state=0),
    pf.FlowRegressor(members=2, hidden=(32,), steps=50, random_state=0),
]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda estimator: EXPECTED)
@pytest.mark.filterwarnings("ignore")  # tables of ten rows, which are warned of
def test_scikit_learn_finds_an_estimator(estimator, check):
    check(estimator)


# ---------------------------------------------------------------------- what they share

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0.0).astype(int)
DRAWING = {
    "density": pf.FlowDensity,
    "classes": pf.FlowClassifier,
    "clusters": pf.FlowClusterer,
}


def quick(name, **given):
    return DRAWING[name](**{"options": {"steps": 2}, "random_state": 0, **given})


def drawn(model):
    found = model.sample(4)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.filterwarnings("ignore::UserWarning")
class TestDrawing:
    """Estimators that new rows are drawn from."""

    def test_a_frame_in_is_a_frame_out_with_its_names(self, name):
        numbered = pd.DataFrame(X)
        model = quick(name).fit(numbered, Y)
        assert list(drawn(model).columns) == [0, 1, 2]
        assert np.isfinite(model.score_samples(drawn(model))).all()
        assert isinstance(drawn(quick(name).fit(X, Y)), np.ndarray)
        named = pl.DataFrame(X, schema=["a", "b", "c"])
        assert drawn(quick(name).fit(named, Y)).columns == ["a", "b", "c"]

    def test_arrays_and_frames_may_follow_each_other(self, name):
        of_array = quick(name).fit(X, Y)
        want = of_array.score_samples(X)
        for names in (range(3), list("abc")):
            frame = pd.DataFrame(X, columns=names)
            np.testing.assert_allclose(of_array.score_samples(frame), want)
            of_frame = quick(name).fit(frame, Y)
            np.testing.assert_allclose(of_frame.score_samples(X), of_frame.score_samples(frame))

    def test_messages_are_about_x_and_name_no_argument_that_is_not_there(self, name):
        who = DRAWING[name].__name__
        frame = pd.DataFrame(X, columns=["a", "b", "class of the row"])
        with pytest.raises(DataError, match=f"^{who}: X has a column 'class of the row'.*rename"):
            quick(name).fit(frame, Y)
        with pytest.raises(DataError, match=f"^{who}.*all columns.* have the same value"):
            quick(name).fit(np.ones((30, 2)), Y[:30])
        if name == "clusters":
            return
        frame = pd.DataFrame({"kind": np.where(Y, "a", "b"), "x": X[:, 0]})
        model = quick(name).fit(frame, Y)
        unseen = ", or score .* with unseen='lowest'" if hasattr(model, "unseen") else ""
        said = rf"^{who}: X: column 'kind' holds 'c'.*; correct it{unseen}\.$"
        with pytest.raises(DataError, match=said):
            model.score_samples(frame.assign(kind="c"))

    def test_options_and_settings_are_checked(self, name):
        who = DRAWING[name].__name__
        with pytest.raises(
            ArgumentError, match=f"{who}: options holds 'epoch', expected.*Did you mean 'epochs'"
        ):
            quick(name, options={"epoch": 3}).fit(X, Y)
        with pytest.raises(ArgumentError, match=f"{who}: options is 'steps', expected arguments"):
            quick(name, options="steps").fit(X, Y)
        if name == "clusters":
            return
        with pytest.raises(ArgumentError, match=f"{who}: missing is 'fill', expected 'refuse'"):
            quick(name, missing="fill").fit(X, Y)


def test_a_copied_column_is_named_without_an_argument_of_tables():
    with pytest.raises(DataError, match=r"FlowDensity: X: .*infinite; leave one of them out\.$"):
        quick("density").fit(np.c_[X, X[:, 0]])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_table_of_three_rows_is_learned_from():
    for name in DRAWING:
        assert np.isfinite(quick(name).fit(X[:3], [0, 1, 1]).score_samples(X)).all()
