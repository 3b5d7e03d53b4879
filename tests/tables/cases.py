"""Tables and models that the tests of tables share."""

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
