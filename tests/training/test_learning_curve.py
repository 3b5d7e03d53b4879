"""The learning curve shows what the history says."""

import math

import numpy as np
import pytest

from pushforward.errors import ArgumentError
from pushforward.training import Evaluation, History
from pushforward.viz.figure import new_axes
from pushforward.viz.learning import learning_curve


def history(first=3.0, middle=2.1):
    losses = [(0, None, first), (10, 2.4, middle), (20, 1.9, 2.0), (30, 1.7, 2.3)]
    evaluations = [
        Evaluation(step / 10, step, train, held, 0.1, None, 1.0, None)
        for step, train, held in losses
    ]
    return History(evaluations, best_step=20, stopped="all steps taken")


def drawn(axes):
    axes.figure.canvas.draw()
    pixels = np.asarray(axes.figure.canvas.buffer_rgba())
    assert pixels.std() > 1  # something is there
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_curves_and_the_kept_weights():
    curves = drawn(learning_curve(history()))
    assert curves["training"] == [[10, 2.4], [20, 1.9], [30, 1.7]]
    assert curves["validation"] == [[0, 3.0], [10, 2.1], [20, 2.0], [30, 2.3]]
    assert curves["kept: 2.000 at step 20"] == [[20, 2.0]]


def test_it_draws_where_it_is_told_to():
    axes = new_axes()
    assert learning_curve(history(), axes=axes) is axes
    assert learning_curve(history()).figure is not axes.figure


def test_a_far_untrained_loss_does_not_press_the_rest_flat():
    axes = learning_curve(history(first=500.0))
    drawn(axes)
    low, high = axes.get_ylim()
    assert low < 1.7
    assert 2.4 < high < 4
    assert [text.get_text() for text in axes.texts] == ["untrained: 500.00"]
    assert not learning_curve(history(first=2.5)).texts


def test_values_that_are_not_finite_are_left_out():
    curves = drawn(learning_curve(history(first=math.inf, middle=math.nan)))
    assert curves["validation"] == [[20, 2.0], [30, 2.3]]


def test_an_empty_history_is_refused():
    with pytest.raises(ArgumentError, match="the history is empty"):
        learning_curve(History())
