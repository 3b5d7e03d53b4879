"""Each benchmark runs to its end on a tiny task; what it says of its rules holds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script, tmp_path, *options, status=(0, 1)):
    """A tiny task may miss its limit; it must end as one that kept it or missed it does."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, options), "--results", tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in status, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.json")
    text = path.read_text()
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text
    result = json.loads(text)
    assert {"commit", "command", "options", "machine", "versions", "minutes"} <= set(result)
    assert all({"metric", "unit", "value", "standard_error"} <= set(f) for f in result["figures"])
    return result, done.stdout


@pytest.fixture
def in_benchmarks(monkeypatch):
    """The scripts import each other as neighbours."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_fidelity(tmp_path):
    result, out = run(
        *("fidelity.py", tmp_path, "--toys", "banana", "--seeds", 1, "--rows", 2000),
        *("--fresh", 1000, "--threads", 1, "--set", "layers=1", "--fit", "steps=4"),
        status=(1,),  # after four steps a limit is missed, and the exit status says so
    )
    (figure,) = result["figures"]
    assert figure["toy"] == "banana"
    assert figure["seed"] == 1
    assert figure["value"] > figure["limit"]
    assert "TOO FAR" in out


def test_tails(tmp_path):
    result, out = run(
        *("tails.py", tmp_path, "--features", 2, "--seeds", 1, "--rows", 400, "--steps", 2),
        *("--draws", 20_000),
    )
    assert [f["flow"] for f in result["figures"]] == [
        "heavy_tailed",
        "tail transform",
        "normal base",
    ]
    assert [f["limit"] for f in result["figures"]] == [0.15, 0.15, None]
    assert "Hill" in out


def test_recipes(tmp_path):
    result, out = run(
        *("recipes.py", tmp_path, "--sets", "two_moons", "mixture_10d", "--recipes", "nice"),
        *("maf", "--rows", 2000, "--test", 500, "--steps", 20, "--threads", 1),
        status=(0,),
    )
    assert len(result["figures"]) == 4
    for figure in result["figures"]:
        assert figure["value"] > figure["start"]
        assert figure["below_truth"] > -0.2
    assert "two_moons" in out


def test_round_trips(tmp_path):
    for only in ("map spline-linear", "transform coupling-affine"):
        folder = tmp_path / only.split()[0]
        result, _ = run(
            *("round_trips.py", folder, "--only", only, "--numbers", 20_000), status=(0,)
        )
        assert all(figure["kept"] for figure in result["figures"])


def test_groups(tmp_path):
    result, _ = run("groups.py", tmp_path, "--rows", 500, "--steps", 10, "--samples", 4000)
    shares = [figure["value"] for figure in result["figures"]]
    assert len(shares) == 4
    assert all(0.0 <= share < 0.5 for share in shares)


def test_tables(tmp_path):
    data = tmp_path / "data"
    (data / "hep").mkdir(parents=True)
    columns = [f"{name}{i}" for i in (1, 2) for name in ("pt", "eta", "phi")]
    rows = numpy.random.default_rng(0).normal(size=(600, 6)).astype(numpy.float32)
    numpy.savez(data / "hep" / "cms_zmumu_10k.npz", X=rows, columns=numpy.array(columns))
    result, out = run(
        *("tables.py", tmp_path, "--data", data, "--sets", "hep", "--competitors", "Gaussian"),
        *("--threads", 1, "--small", "--set", "layers=1", "--fit", "steps=4"),
    )
    assert [f["jitter_steps"] for f in result["figures"]] == [1.0, 1.0, 0.5, 0.5]
    assert {f["competitor"] for f in result["figures"]} == {"Gaussian", "pushforward"}
    assert result["figures"][0]["rows"] == {"train": 486, "validation": 54, "test": 60}
    assert "ours less theirs" in out


def test_memory(tmp_path):
    pytest.importorskip("pyarrow")
    result, _ = run(
        "memory.py", tmp_path, "--rows", 600, "--columns", 3, "--threads", 1, status=(0,)
    )
    (figure,) = result["figures"]
    assert figure["passes"] > 0.9
    assert 50e6 < figure["value"] < 1.5e9
    assert figure["marks"]["fit"] <= figure["value"]


def test_startup(tmp_path):
    result, out = run("startup.py", tmp_path, "--repeats", 1)
    took = {f["metric"]: f["value"] for f in result["figures"]}
    assert took["all above torch"] >= took["then pf.Flow"] + took["then pf.fit"]
    assert "slowest imports" in out


def test_spline_inverse(tmp_path):
    result, out = run("spline_inverse.py", tmp_path, "--bins", 3000, status=(0,))
    ours = {f["metric"]: f for f in result["figures"] if "naive_formula" in f}
    assert len(ours) == 5
    assert all(0.0 < f["value"] <= (f["limit"] or 1.0) for f in ours.values())
    worse = [f["naive_formula"] > 10 * f["value"] for f in ours.values()]
    assert sum(worse) >= 2
    assert "LinearRational" in out


def test_speed(tmp_path):
    result, out = run(
        *("speed.py", tmp_path, "--small", "--rows", "coupling-train-2", "gpu-train-43"),
        *("--threads", 1, "--peers"),
    )
    times = {(f["row"], f["subject"]): f for f in result["figures"] if "subject" in f}
    assert times["coupling-train-2", "pushforward"]["repeats"] == 2
    assert times["coupling-train-2", "networks alone"]["value"] > 0
    limits = [f for f in result["figures"] if f["limit"] is not None]
    assert all(f["value"] is None and f["kept"] is None for f in limits)  # no peer took part
    page = (tmp_path / "speed.md").read_text()
    assert page.count("not measured") >= len(limits)
    assert "D = 2: training step, 256 rows" in page
    assert "not measured, at most 5" in out


def test_limits_of_speed_are_read_off_the_figures(in_benchmarks):
    from speed_targets import TARGETS, Figures

    def figure(row, subject, value):
        return {"row": row, "subject": subject, "value": value}

    found = Figures(
        [
            figure("coupling-train-43", "pushforward", 10.0),
            figure("coupling-train-43", "networks alone", 8.0),
            figure("coupling-train-43", "zuko", 50.0),
            figure("coupling-train-43", "FlowJAX", 30.0),
            figure("coupling-train-43", "FrEIA", None),
            figure("autoregressive-sample-43", "pushforward", 10.0),
            figure("autoregressive-sample-43", "zuko", 900.0),
            figure("autoregressive-sample-43", "FlowJAX", 300.0),
            figure("layers-train-43", "4 layers", 4.0),
            figure("layers-train-43", "32 layers", 40.0),
        ]
    )
    read = {one.name: one.read(found) for one in TARGETS}
    assert len(read) == len(TARGETS)
    assert read["coupling-train-43 against the fastest peer"] == (3.0, "FlowJAX")
    assert read["coupling-train-43 over its networks"] == (1.25, "networks alone")
    assert read["autoregressive-sample-43 against the fastest PyTorch peer"] == (90.0, "zuko")
    assert read["autoregressive-sample-43 against FlowJAX"] == (30.0, "FlowJAX")
    assert read["layers-train-43"] == (1.25, "most at 32, least at 4")
    assert read["first-step"] is None


def test_storages_that_autograd_holds_are_counted_once(in_benchmarks):
    import torch

    from speed_fresh import saved

    weight = torch.ones(1000, requires_grad=True)

    def work():
        x = (2.0 * weight).exp()  # 4 000 bytes, held for the backward pass
        (x.view(10, 100) * x.view(10, 100)).sum().backward()  # and again, as two views of it

    assert saved(work, [weight]) == 4000


def test_a_real_kill_is_resumed(tmp_path):
    """The kills of the benchmark, once: same tensors, at most one interval of steps again."""
    result, _ = run(
        *("resume.py", tmp_path, "--times", 1, "--every", 1000, "--every-steps", 5),
        *("--epochs", 2, "--layers", 1, "--hidden", 8),
        status=(0,),
    )
    assert [f["same_tensors"] for f in result["figures"]] == [True]
    assert all(f["repeated_steps"] <= 5 for f in result["figures"])


def test_columns_with_spikes_are_left_out(in_benchmarks):
    from table_sets import TableSet, leave_out

    generator = numpy.random.default_rng(0)
    free, other = generator.normal(size=(2, 4000))
    atom = numpy.where(generator.random(4000) < 0.2, 0.0, free + generator.normal(size=4000))
    levels = generator.integers(0, 30, 4000).astype(float)
    follows = numpy.round(free**2 + other, 1)
    x = numpy.stack([free, other, atom, levels, follows], 1)
    steps = numpy.array([1e-6, 1e-6, 1e-6, 1.0, 0.1])
    table = leave_out(
        TableSet("t", ("free", "other", "atom", "levels", "follows"), x, steps, ("",) * 5)
    )
    assert table.names == ("free", "other")
    reasons = dict(table.left_out)
    assert reasons["atom"].startswith("atom: 19% of the rows")
    assert reasons["levels"] == "only 30 distinct values"
    assert reasons["follows"].startswith("half of its values follow")


def test_half_the_jitter_is_half_of_the_same_draw(in_benchmarks):
    from table_sets import TableSet

    x = numpy.zeros((1000, 2))
    table = TableSet("t", ("a", "b"), x, numpy.array([1.0, 0.1]), ("", ""))
    whole, half = table.jittered(1.0, 0), table.jittered(0.5, 0)
    numpy.testing.assert_allclose(whole, 2 * half)
    # within half a step of each column, and nearly as far as that
    numpy.testing.assert_allclose(numpy.abs(whole).max(0), [0.5, 0.05], rtol=0.02)
    assert (numpy.abs(whole).max(0) <= [0.5, 0.05]).all()


def test_a_ranking_may_change_only_between_ties(in_benchmarks):
    from competitors import Fitted
    from tables import OURS, Ranking, _compare

    noise = numpy.random.default_rng(0).normal(size=(2, 1000))

    def ranking(jitter, ours, theirs):
        one, other = (Fitted(level + noise[i], 0, 0.0) for i, level in enumerate((ours, theirs)))
        return Ranking(jitter, {OURS: one, "theirs": other})

    assert _compare("t", [ranking(1.0, 1.0, 0.0), ranking(0.5, 1.0, 0.0)]) == []
    (behind, *_) = _compare("t", [ranking(1.0, 0.0, 1.0)])
    assert "theirs is better" in behind
    missed = _compare("t", [ranking(1.0, 1.0, 0.0), ranking(0.5, 0.0, 1.0)])
    assert any("change places" in one for one in missed)


def test_mixed(tmp_path):
    result, out = run(
        *("mixed.py", tmp_path, "--rows", 120, "--wide", 2000, "--threads", 1, "--few", 60),
        status=(1,),
    )
    names = [figure["metric"] for figure in result["figures"]]
    assert names == [
        "distance to the truth",
        "KL(truth, flow)",
        "share of a category",
        "fresh customers",
        "town and postal code go together",
        "fit",
        "scoring",
    ]
    assert result["figures"][0]["value"] > result["figures"][0]["limit"]  # of 120 rows
    assert "2,000 x 20" in out


def test_uci_tables(tmp_path):
    (tmp_path / "uci_tables").mkdir()
    draw = numpy.random.default_rng(0)
    x = numpy.round(draw.normal(size=(600, 3)), 2)
    x[:, 2] = draw.random(600) < 0.4  # an atom
    numpy.savez(tmp_path / "uci_tables" / "wind.npz", X=x, y=numpy.round(x[:, 0] + x[:, 1], 2))
    result, out = run(
        *("uci_tables.py", tmp_path, "--data", tmp_path, "--sets", "wind", "--small"),
        *("--threads", 1, "--fit", "steps=5", "--competitors", "GaussianMixture (BIC)"),
    )
    assert {f["jitter_steps"] for f in result["figures"]} == {1.0, 0.5}
    assert "left out: x2" in out
    assert "follows from the other columns" in out


def test_regression(tmp_path):
    (tmp_path / "uci_regression").mkdir()
    draw = numpy.random.default_rng(0)
    x = draw.normal(size=(120, 2))
    y = numpy.round(x[:, 0] + 0.3 * draw.normal(size=120), 3)
    test = numpy.stack([draw.permutation(120)[:20] for _ in range(2)])
    numpy.savez(tmp_path / "uci_regression" / "yacht.npz", X=x, y=y, test_index=test)
    result, out = run(
        *("regression.py", tmp_path, "--data", tmp_path, "--sets", "yacht", "--members", 1),
        *("--splits", 1, "--rivals", "Gaussian network"),
    )
    assert {f["method"] for f in result["figures"]} == {"pushforward", "Gaussian network, single"}
    assert all(len(f["nats"]) == 1 and f["set"] == "yacht" for f in result["figures"])
    assert "90 % intervals hold" in out


def test_outliers(tmp_path):
    (tmp_path / "adbench").mkdir()
    draw = numpy.random.default_rng(0)
    x = numpy.concatenate((draw.normal(size=(150, 3)), 6.0 + draw.normal(size=(10, 3))))
    numpy.savez(tmp_path / "adbench" / "1_far.npz", X=x, y=numpy.arange(160) >= 150)
    result, out = run(
        *("outliers.py", tmp_path, "--data", tmp_path, "--seeds", 0),
        *("--only", "FlowOutlierDetector", "IsolationForest"),
    )
    areas = [f["value"] for f in result["figures"] if f["metric"] == "ROC-AUC"]
    assert len(areas) == 4  # two methods, two protocols
    assert min(areas) > 0.95
    assert "mean ROC-AUC" in out
