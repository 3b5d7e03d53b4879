"""The estimators keep scikit-learn's manners: its own checks, of every one of them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import pushforward as pf

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
