"""Tables and models that the tests of tables share."""

import datetime

import numpy as np
import polars as pl

import pushforward as pf

TINY = {"layers": 2, "hidden": (16,)}


def numbers(rows=400, seed=0):
    """Two columns that hang together, a gamma and a uniform."""
    draw = np.random.default_rng(seed)
    a = draw.normal(10.0, 2.0, rows)
    return pl.DataFrame(
        {
            "a": a,
            "b": 0.5 * a + draw.normal(0.0, 0.3, rows),
            "c": draw.gamma(3.0, 1.0, rows),
        }
    )


def quick(data, flow="realnvp", seed=0, settings=TINY, **options):
    table = pf.TableFlow(flow, settings=settings, seed=seed)
    length = {} if "epochs" in options else {"steps": 30}
    return table.fit(data, progress=False, **{**length, **options})


def mixed(rows=400, seed=0):
    """A table as people have them: text, counts, truth, dates, gaps, zeros, a constant."""
    draw = np.random.default_rng(seed)
    kind = draw.choice(3, rows, p=[0.5, 0.3, 0.2])
    x = draw.normal(2.0 * kind, 1.0)
    first = datetime.date(2024, 1, 1)
    return pl.DataFrame(
        {
            "x": x,
            "kind": [("red", "green", "blue")[i] for i in kind],
            "count": draw.poisson(1.0 + kind),
            "member": draw.random(rows) < 0.2 + 0.3 * kind,
            "when": [first + datetime.timedelta(int(d)) for d in draw.integers(0, 90, rows)],
            "income": np.exp(0.3 * x + draw.normal(0.0, 0.5, rows)),
            "angle": draw.uniform(0.0, 360.0, rows),
            "spent": np.where(draw.random(rows) < 0.4, 0.0, draw.gamma(2.0, 3.0, rows)).round(2),
            "country": ["here"] * rows,
            "height": pl.Series(draw.normal(170.0, 9.0, rows)).scatter(
                np.flatnonzero(draw.random(rows) < 0.1), None
            ),
        }
    )


def small(rows=300, seed=0):
    """Few enough values that all can be added up, and one number."""
    draw = np.random.default_rng(seed)
    kind = draw.choice(2, rows, p=[0.7, 0.3])
    count = draw.binomial(3, 0.2 + 0.4 * kind)
    return pl.DataFrame(
        {
            "x": draw.normal(count - 2.0 * kind, 0.7),
            "kind": [("a", "b")[i] for i in kind],
            "count": count,
            "flag": draw.random(rows) < 0.2 + 0.2 * count,
        }
    )


SMALL_TYPES = {"count": "integer:0,3"}


def conditional_gaussian(train, held, weights):
    """a and b given c: regression and the covariance of what is left, by the textbook."""
    from scipy.stats import multivariate_normal

    moments = np.cov(train.select("a", "b", "c").to_numpy().T, aweights=weights, ddof=0)
    mean = np.average(train.select("a", "b", "c").to_numpy(), axis=0, weights=weights)
    slope = moments[:2, 2] / moments[2, 2]
    left = moments[:2, :2] - np.outer(slope, slope) * moments[2, 2]
    centre = mean[:2] + (held["c"].to_numpy()[:, None] - mean[2]) * slope
    rest = held.select("a", "b").to_numpy() - centre
    return multivariate_normal([0.0, 0.0], left).logpdf(rest)
