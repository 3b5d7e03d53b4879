"""The outlier detector: densities of blurred rows, and the scores that are made of them."""

import datetime
import math
import pickle
import warnings

import numpy
import polars
import pytest
import torch
from sklearn.metrics import roc_auc_score

import pushforward as pf
from pushforward.estimators import blurring
from pushforward.flows import Blurred, BlurredColumns
from pushforward.flows.saving import load
from pushforward.objectives import Batch, BlurredLikelihood

QUICK = {"steps": 20}


def detector(**given):
    return pf.FlowOutlierDetector(**{"random_state": 0, **given})


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def blob():
    """Rows of three columns that hang together, in units far apart, and a detector of them."""
    mixing = numpy.array([[1.0, 0.8, 0.0], [0.0, 0.6, 50.0], [0.0, 0.0, 20.0]])
    rows = draws(4000, 3).numpy() @ mixing + [1e6, 0.0, -5.0]
    return rows, detector(options={"steps": 100}).fit(rows[:2000])


def trained(rows):
    """Densities of rows as the detector learns them, with few steps."""
    return blurring.learn(rows, 0, {"steps": 20})


# ------------------------------------------------------------------ the density of rows


@pytest.mark.parametrize("size", [0.02, 0.04, 0.3, 1.5])
def test_a_trained_density_of_one_column_integrates_to_one(size):
    rows = torch.cat((draws(60, 1), 30.0 + 0.01 * draws(40, 1)))
    joint, columns = trained(rows)
    grid = torch.linspace(-300.0, 300.0, 30_001, dtype=torch.float64)
    step = float(grid[1] - grid[0])
    total = float(joint.log_prob(grid[:, None], size).exp().sum())
    assert total * step == pytest.approx(1.0, abs=1e-4)
    inside = float(columns.log_prob(grid[:, None]).exp().sum()) * step
    # the Cauchy background goes on beyond the grid
    lost = 0.02 * (1.0 - 2.0 / math.pi * math.atan(300.0 / float(columns.deviation)))
    assert inside == pytest.approx(1.0 - lost, abs=1e-3)


@pytest.mark.parametrize("size", [0.1, 1.0])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_trained_density_of_two_columns_integrates_to_one(size, rank):
    first = draws(100, 1)
    rows = torch.cat((first, -2.0 * first if rank == 1 else first**2 + 0.1 * draws(100, 1)), 1)
    joint, _ = trained(rows)
    assert joint.rank == rank
    line = torch.linspace(-8.0, 8.0, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)  # in standard deviations
    x = joint.mean + joint.deviation * grid
    total = float(joint.log_prob(x, size).exp().sum())
    volume = float(line[1] - line[0]) ** 2 * float(joint.deviation.prod())
    assert total * volume == pytest.approx(1.0, abs=2e-3)  # tails of the splines beyond the grid


@pytest.mark.parametrize(("rows", "columns"), [(200, 3), (10, 4), (5, 30)])
@pytest.mark.parametrize("size", [0.05, 0.7])
def test_before_training_it_is_the_gaussian_of_the_blurred_rows(rows, columns, size):
    x = draws(rows, columns) @ draws(columns, columns, seed=1) + 3.0
    joint = Blurred.of(x, hidden=(4,)).precise()
    deviation = x.std(0, correction=0)
    noise = torch.diag((size * deviation) ** 2)
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov(correction=0) + noise)
    torch.testing.assert_close(joint.log_prob(x, size), gaussian.log_prob(x), rtol=1e-6, atol=1e-6)
    sizes = torch.full((rows,), size, dtype=torch.float64)
    torch.testing.assert_close(joint(x, sizes), joint.log_prob(x, size))


def test_the_figure_in_training_is_the_density_of_the_noisy_rows():
    x = draws(500, 2) * torch.tensor([3.0, 0.2])
    joint = Blurred.of(x, hidden=(4,))
    seen = joint.along(x).float()
    objective = BlurredLikelihood(joint.variance, joint.sizes)
    figure = objective(joint.flows[0], Batch(seen), torch.Generator().manual_seed(0))
    # what it drew
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(500, 1, generator=generator)
    size = 0.02 * 75.0**share
    noisy = seen + size * torch.randn(500, 2, generator=generator)
    back = joint.mean + joint.deviation * (noisy.double() @ joint.axes)
    log_p = joint.log_prob(back, size[:, 0]) + joint.deviation.log().sum()
    torch.testing.assert_close(figure.double(), -log_p.mean(), rtol=1e-5, atol=1e-5)
    weights = torch.zeros(500)
    weights[:250] = 2.0
    weighted = objective(
        joint.flows[0], Batch(seen, None, weights), torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(weighted.double(), -log_p[:250].mean(), rtol=1e-5, atol=1e-5)


def test_blurred_densities_are_saved_and_loaded(tmp_path):
    x = draws(100, 3)
    for part in trained(x):
        part.save(tmp_path / "part.safetensors")
        again = load(tmp_path / "part.safetensors")
        args = (x, 0.3) if isinstance(part, Blurred) else (x,)
        assert torch.equal(again.log_prob(*args), part.log_prob(*args))


def test_fit_reads_scale_and_axes_anew():
    x = draws(50, 3)
    other = 5.0 * draws(50, 3, seed=1) + 1.0
    joint = Blurred.of(x, hidden=(4,)).fit(other)
    torch.testing.assert_close(joint.log_prob(x, 0.1), Blurred.of(other).log_prob(x, 0.1))
    with pytest.raises(pf.errors.DataError, match="vary along 1 axes, expected at least 3"):
        joint.fit(torch.ones(5, 3) * torch.arange(5.0)[:, None])


def test_what_cannot_be_is_refused():
    joint = Blurred.of(draws(20, 2), hidden=(4,))
    with pytest.raises(pf.errors.ArgumentError, match=r"size is 3\.0, expected numbers from 0\.02"):
        joint.log_prob([[0.0, 0.0]], 3.0)
    with pytest.raises(pf.errors.ShapeError, match=r"expected \(\*batch, 2\)"):
        joint.log_prob([[0.0]], 0.1)
    with pytest.raises(pf.errors.ArgumentError, match="a rank from 0"):
        Blurred(2, 3)
    with pytest.raises(pf.errors.ArgumentError, match="context of width 1"):
        Blurred(2, 2, [pf.flows.nsf(2)])
    with pytest.raises(pf.errors.ArgumentError, match="two numbers above 0"):
        Blurred(2, 2, sizes=(1.0, 0.5))
    with pytest.raises(pf.errors.ArgumentError, match="expected numbers above 0"):
        BlurredColumns(2, size=0.0)
    with pytest.raises(pf.errors.DataError, match="NaN or infinity"):
        BlurredColumns(1).fit(torch.tensor([[math.nan]]))
    with pytest.raises(pf.errors.ArgumentError, match="expected numbers from 0 up"):
        BlurredLikelihood([-1.0])


# ------------------------------------------------------------------ outliers are found


def area(model, usual, odd):
    scores = numpy.concatenate((model.score_samples(usual), model.score_samples(odd)))
    return roc_auc_score(numpy.arange(len(scores)) < len(usual), scores)


def test_rows_between_two_groups_are_found():
    rng = numpy.random.default_rng(0)
    rows = rng.normal(size=(600, 2)) * 0.3 + rng.choice([-2.0, 2.0], size=(600, 1))
    between = rng.uniform(-0.8, 0.8, size=(60, 2))
    model = detector(options={"steps": 80}).fit(rows[:400])
    assert area(model, rows[400:], between) > 0.98


def households(n, rng):
    grown = rng.random(n) < 0.5
    return {
        "kind": numpy.where(grown, rng.choice(["worker", "teacher"], n), "pupil"),
        "age": numpy.where(grown, rng.normal(45, 8, n), rng.normal(11, 2, n)),
        "member": rng.random(n) < 0.5,
        "since": [
            datetime.date(2020, 1, 1) + datetime.timedelta(int(d)) for d in rng.integers(0, 900, n)
        ],
    }


def test_rows_whose_label_does_not_fit_are_found_in_a_frame():
    rng = numpy.random.default_rng(0)
    rows = polars.DataFrame(households(500, rng))
    odd = polars.DataFrame({**households(50, rng), "kind": "teacher", "age": rng.normal(11, 2, 50)})
    model = detector(options={"steps": 60}).fit(rows[:300])
    assert area(model, rows[300:], odd) > 0.9
    model = pickle.loads(pickle.dumps(model))
    never = rows[300:].with_columns(kind=polars.lit("king"))
    assert (model.outlier_score(never) == 1.0).all()
    assert (model.outlier_score(rows.to_pandas()) == model.outlier_score(rows)).all()


def test_a_shift_in_many_columns_is_found_with_fewer_rows_than_columns():
    rng = numpy.random.default_rng(0)
    factors = rng.normal(size=(4, 200))
    rows = rng.normal(size=(150, 4)) @ factors + 0.5 * rng.normal(size=(150, 200))
    model = detector().fit(rows[:50])
    assert area(model, rows[50:], rows[50:] + rng.normal(size=(100, 200))) > 0.95


@pytest.mark.filterwarnings("ignore:132 rows are few")
@pytest.mark.filterwarnings("ignore:.*rows are few")
def test_gaps_are_modelled_or_dropped():
    rng = numpy.random.default_rng(0)
    rows = rng.normal(size=(200, 2))
    rows[rng.random(200) < 0.3, 1] = numpy.nan
    assert (~numpy.isfinite(rows)).any()
    modelled = detector(missing="model", options=QUICK).fit(rows)
    assert numpy.isfinite(modelled.score_samples(rows)).all()
    dropped = detector(missing="drop", options=QUICK).fit(rows)
    gaps = numpy.isnan(rows).any(1)
    for model in (dropped, detector(density="table", missing="drop", options=QUICK).fit(rows)):
        for figure in (model.score_samples, model.decision_function, model.outlier_score):
            assert (numpy.isnan(figure(rows)) == gaps).all()
        assert (model.predict(rows)[gaps] == -1).all()  # nobody can say that it is usual
        assert (model.predict(rows)[~gaps] == -1).mean() == pytest.approx(0.05, abs=0.01)
    with pytest.raises(ValueError, match="NaN"):
        detector(options=QUICK).fit(rows)


# ------------------------------------------------------------------ scores


def test_the_share_of_outliers_is_kept(blob):
    rows, model = blob
    assert (model.predict(rows[:2000]) == -1).mean() == pytest.approx(0.05, abs=0.002)
    few = detector(contamination=numpy.float32(0.2), options=QUICK).fit(rows[:600])
    assert (few.predict(rows[:600]) == -1).mean() == pytest.approx(0.2, abs=0.002)
    expected = few.score_samples(rows) - few.offset_
    assert (few.decision_function(rows) == expected).all()


def test_outlier_scores_of_fresh_rows_are_shares(blob):
    """A little odder than the training rows, to which the densities are fitted."""
    rows, model = blob
    share = model.outlier_score(rows[2000:])
    # standard errors of 2000 rows: 0.006 and 0.007
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert (share > 0.9).mean() == pytest.approx(0.1, abs=0.03)
    assert model.outlier_score(rows[:2000]).mean() == pytest.approx(0.5, abs=1e-3)


def test_the_score_is_that_of_the_rule(blob):
    rows, model = blob
    x = torch.from_numpy(rows[3000:])
    unit = 1.5 * model.joint_.deviation.log().sum()
    joint = model.joint_.log_probs(x, 0.04).mean(0)
    rule = joint + 0.5 * model.columns_.log_prob(x) + unit
    assert len(model.joint_.flows) == 2
    numpy.testing.assert_allclose(model.score_samples(rows[3000:]), rule.numpy(), rtol=1e-10)


def test_scores_do_not_depend_on_the_batch_or_on_units(blob):
    rows, model = blob
    alone = numpy.concatenate([model.score_samples(row[None]) for row in rows[:20]])
    numpy.testing.assert_allclose(alone, model.score_samples(rows)[:20], rtol=1e-10)
    scale = numpy.array([1e-9, 1.0, 1024.0])
    other = detector(options=QUICK).fit(rows[:200] * scale).score_samples(rows * scale)
    same = detector(options=QUICK).fit(rows[:200]).score_samples(rows)
    # training is in float32, so that rounding is all that units change
    numpy.testing.assert_allclose(other, same, rtol=1e-3, atol=1e-2)


def test_the_same_seed_gives_the_same_scores_and_leaves_the_callers_alone(blob):
    rows = blob[0][:100]
    before = torch.get_rng_state(), numpy.random.mtrand._rand.get_state()[1].copy()
    first, second, other = (
        detector(random_state=seed, options=QUICK).fit(rows).score_samples(rows)
        for seed in (0, 0, 1)
    )
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == numpy.random.mtrand._rand.get_state()[1]).all()
    assert (first == second).all()
    assert (first != other).any()


def test_a_pickle_gives_the_same_scores_and_holds_no_module(blob):
    rows, model = blob
    content = pickle.dumps(model)
    again = pickle.loads(content)
    assert (again.score_samples(rows) == model.score_samples(rows)).all()
    assert (again.outlier_score(rows) == model.outlier_score(rows)).all()
    assert b"torch.nn" not in content


def test_with_typicality_the_likeliest_row_is_odd():
    rows = draws(400, 50).numpy()
    middle = numpy.zeros((1, 50))
    likely = detector(options=QUICK).fit(rows)
    typical = detector(options=QUICK, typicality=True).fit(rows)
    assert likely.outlier_score(middle)[0] == 0.0
    assert typical.outlier_score(middle)[0] == 1.0
    assert typical.outlier_score(10.0 + middle)[0] == 1.0
    assert typical.outlier_score(rows).mean() == pytest.approx(0.5, abs=1e-2)


def test_weights_are_kept_by_taking_rows_in_proportion(blob):
    rows = blob[0][:200]
    even = detector(options=QUICK).fit(rows, sample_weight=numpy.full(200, 0.3))
    assert (even.score_samples(rows) == detector(options=QUICK).fit(rows).score_samples(rows)).all()
    left = numpy.concatenate((rows, rows + 1e9))
    weight = numpy.repeat([1.0, 0.0], 200)
    model = detector(options=QUICK).fit(left, sample_weight=weight)
    assert (model.outlier_score(rows + 1e9) == 1.0).all()


# ------------------------------------------------------------------ tables that others refuse


def test_a_table_of_a_hundred_rows_takes_few_steps(monkeypatch):
    """60 steps of each flow are half a second; a step is 4 ms or so."""
    import pushforward.training

    taken = []
    fit = pushforward.training.fit

    def counting(*args, **given):
        history = fit(*args, **given)
        taken.append(history.evaluations[-1].step)
        return history

    monkeypatch.setattr(pushforward.training, "fit", counting)
    detector().fit(draws(100, 3).numpy())
    assert taken == [60, 60]
    assert blurring.steps_of(101, 50) == 300
    assert blurring.steps_of(1_000_000, 256) * 256 >= 1_000_000


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0], [2.0, 1.0]],
        numpy.zeros((30, 3)),
        draws(30, 1).numpy() @ [[1.0, 2.0, -1.0]],
        numpy.tile(draws(2, 5).numpy(), (20, 1)),
        draws(25, 60).numpy(),
        draws(30, 2).numpy() * 1e200,
        draws(30, 2).numpy() * 1e-200,
        0.1 * numpy.ones((30, 2)),
    ],
    ids=["two", "zeros", "copies", "twice", "wide", "huge", "tiny", "constant"],
)
def test_odd_tables_have_finite_scores(rows):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*hardly tell what is odd")
        model = detector(options=QUICK).fit(rows)
    rows = numpy.asarray(rows)
    assert numpy.isfinite(model.score_samples(rows)).all()
    away = numpy.full((2, rows.shape[1]), [[1e250], [-1e250]])
    assert numpy.isfinite(model.score_samples(away)).all()
    assert (model.predict(away) == -1).all()


def test_few_rows_are_warned_of():
    with pytest.warns(UserWarning, match="there are 5 rows, which hardly tell what is odd"):
        detector(options=QUICK).fit(draws(5, 2).numpy())


def test_a_frame_of_numbers_is_scored_as_an_array(blob):
    rows = blob[0][:100].copy()
    frame = polars.DataFrame(rows, schema=["a", "b", "c"])
    array, framed = (detector(options=QUICK).fit(x).score_samples(x) for x in (rows, frame))
    numpy.testing.assert_allclose(framed, array, rtol=1e-9)


def test_a_constant_column_that_changes_is_odd():
    x = draws(50, 1).numpy()[:, 0]
    frame = polars.DataFrame({"x": x, "unit": ["m"] * 50, "one": [1] * 50})
    model = detector(options=QUICK).fit(frame)
    assert model.outlier_score(frame).mean() == pytest.approx(0.5)
    for name, value in (("unit", "km"), ("one", 2)):
        assert (model.outlier_score(frame.with_columns(polars.lit(value).alias(name))) == 1.0).all()


def test_the_density_of_a_table_is_still_there():
    rows = draws(200, 2).numpy()
    model = detector(density="table", flow="realnvp", options={"steps": 5}).fit(rows)
    assert (model.score_samples(rows) == model.table_.log_prob(rows)).all()
    with pytest.raises(pf.errors.ArgumentError, match="add density='table'"):
        detector(flow="realnvp").fit(rows)
    with pytest.raises(pf.errors.ArgumentError, match="expected 'blurred' or 'table'"):
        detector(density="plain").fit(rows)
    with pytest.raises(pf.errors.ArgumentError, match=r"contamination is 0\.7"):
        detector(contamination=0.7).fit(rows)
    with pytest.raises(pf.errors.ArgumentError, match="options holds 'objective', expected some"):
        detector(options={"objective": None}).fit(rows)
