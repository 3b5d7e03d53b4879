"""What the commands do when all is well, with real tables and real, small models."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.cli.conftest import QUICK, numbers

import pushforward as pf


def test_fit_says_what_it_read_chose_and_reached(typed, folder, here):
    result = typed("fit", folder / "table.csv", *QUICK[:-1], "--epochs", "3")
    assert result.status == 0
    for part in (
        "300 rows, 3 columns",
        "nsf layers=2 hidden=16",
        "held-out row",
        "Gaussian, transformed columns",
        "±",
        "Saved as table.safetensors",
        f"pushforward score table.safetensors {folder}/table.csv --out scored.csv",
        "pushforward sample table.safetensors -n 1000 --out new.csv",
    ):
        assert part in result.out
    assert "in the place of" not in result.out
    assert isinstance(pf.load("table.safetensors"), pf.TableFlow)
    again = typed("fit", folder / "table.csv", *QUICK[:-1])
    assert "in the place of the file that was there" in again.out


def test_a_column_of_markup_is_shown_as_it_is_called(typed, here):
    numbers().rename({"a": "[red]a"}).write_csv("t.csv")
    assert "[red]a" in typed("fit", "t.csv", *QUICK[:-1]).out


def test_quiet_is_quiet(typed, folder, here):
    result = typed("fit", folder / "table.csv", *QUICK)
    assert (result.status, result.out) == (0, "")
    assert "step" not in result.err
    assert result.err.startswith("Note: 270 rows are few")  # a warning is no chatter


def test_fit_in_json(typed, folder, here):
    facts = typed("fit", folder / "table.csv", "--json", *QUICK).json()
    assert facts["model"] == "table.safetensors"
    assert facts["columns"] == ["a", "b", "c"]
    assert facts["rows_read"] == 300
    assert facts["arguments"]["layers"] == 2


def test_the_same_seed_gives_the_same_file(typed, folder, here):
    for name, seed in (("one", 4), ("two", 4), ("three", 5)):
        typed("fit", folder / "table.csv", "--out", f"{name}.safetensors", "--seed", seed, *QUICK)
    drawn = [pf.load(f"{name}.safetensors").sample(5, seed=0) for name in ("one", "two", "three")]
    assert drawn[0].equals(drawn[1])
    assert not drawn[0].equals(drawn[2])


def test_score_keeps_the_table_and_adds_two_columns(typed, folder, here):
    table = numbers(40).with_columns(name=pl.Series([f"row {i}" for i in range(40)]))
    table.write_csv("t.csv")
    result = typed("score", folder / "model.safetensors", "t.csv", "--out", "s.parquet")
    assert "40 rows scored" in result.out
    assert "'name' is ignored" in " ".join(result.out.split())
    scored = pl.read_parquet("s.parquet")
    assert scored.columns == [*table.columns, "log_density", "outlier_score"]
    assert scored.drop("log_density", "outlier_score").equals(pl.read_csv("t.csv"))
    assert scored["outlier_score"].is_between(0, 1).all()
    expected = pf.load(folder / "model.safetensors").log_prob(table)
    assert scored["log_density"].to_numpy() == pytest.approx(expected, rel=1e-12)


def test_score_finds_the_odd_row(typed, folder, here):
    table = numbers(40)
    table[16, "b"] = 25.0
    table.write_csv("t.csv")
    arguments = ("score", folder / "model.safetensors", "t.csv", "--out", "s.csv", "--json")
    facts = typed(*arguments).json()
    assert facts["least_likely"][0]["row"] == 17
    assert facts["least_likely"][0]["outlier_score"] == 1.0
    assert facts["less_likely_than_every_training_row"] >= 1


def test_without_out_the_table_goes_to_standard_output(typed, folder, here):
    scored = typed("score", folder / "model.safetensors", folder / "table.csv")
    assert pl.read_csv(scored.out.encode()).height == 300
    assert "300 rows scored" in scored.err
    drawn = typed("sample", folder / "model.safetensors", "-n", 7)
    assert pl.read_csv(drawn.out.encode()).shape == (7, 3)
    assert drawn.err == ""


def test_samples_repeat_with_their_seed(typed, folder):
    words = ("sample", folder / "model.safetensors", "-n", 3)
    assert typed(*words).out == typed(*words, "--seed", 0).out
    assert typed(*words).out != typed(*words, "--seed", 1).out


def test_samples_given_a_context(typed, folder, here):
    words = ("sample", folder / "given.safetensors", "-n", 9, "--given", "c=2.5", "--out", "s.csv")
    assert "written to s.csv" in typed(*words).out
    assert pl.read_csv("s.csv").height == 9


@pytest.mark.parametrize("model", ["model", "given"])
def test_samples_given_a_column_that_is_no_context_are_weighted(typed, folder, here, model):
    words = ("--given", "a=12", *(() if model == "model" else ("--given", "c=2")))
    done = typed("sample", folder / f"{model}.safetensors", "-n", 40, *words, "--out", "s.csv")
    assert done.status == 0, done.err
    assert "given a: 40 rows out of" in " ".join(done.out.split())
    drawn = pl.read_csv("s.csv")
    assert drawn["a"].to_list() == [12.0] * 40
    assert drawn["b"].n_unique() > 20


def test_info_of_a_table(typed, folder):
    model = folder / "given.safetensors"
    result = typed("info", model)
    for part in ("TableFlow", pf.__version__, "nsf", "context", "300 rows", "Trained in"):
        assert part in result.out
    facts = typed("info", model, "--json").json()
    assert facts["kind"] == "TableFlow"
    assert facts["context"] == ["c"]
    assert [column["name"] for column in facts["schema"]["columns"]] == ["a", "b", "c"]


def test_groups_of_rows_are_told_of(typed, here):
    draw = np.random.default_rng(0)
    apart = np.repeat([0.0, 20.0], 1_000)
    rows = {"a": apart + draw.normal(size=2_000), "b": draw.normal(size=2_000)}
    pl.DataFrame(rows).sample(fraction=1.0, shuffle=True, seed=0).write_csv("two.csv")
    said = typed("fit", "two.csv", "--out", "two.safetensors", "--epochs", "1")
    assert said.status == 0
    assert "2 separate groups" in " ".join(said.out.split())
    told = typed("info", "two.safetensors").out
    assert "Base: GaussianMixture(features=2, components=2, background=0.05)" in told


@pytest.fixture(scope="module")
def estimated(tmp_path_factory):
    """A folder with a table of nine columns and a model whose density is an estimate."""
    place = tmp_path_factory.mktemp("estimated")
    draw = np.random.default_rng(0).normal(size=(200, 9)) @ np.triu(np.ones((9, 9)))
    data = pl.DataFrame(draw, schema=[f"c{i}" for i in range(9)])
    data.write_csv(place / "wide.csv")
    table = pf.TableFlow("ffjord", settings={"hidden": (8,), "steps": 2})
    pf.save(table.fit(data, steps=20, lr=0.05, progress=False), place / "noisy.safetensors")
    return place


def test_scores_of_an_estimated_density_repeat_and_are_called_so(typed, estimated, here):
    words = ("score", estimated / "noisy.safetensors", estimated / "wide.csv", "--out")
    said = " ".join(typed(*words, "one.csv").out.split())
    assert "an unbiased estimate: each row's carries noise" in said
    assert "the same table gives the same scores" in said
    facts = typed(*words, "two.csv", "--json").json()
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()
    assert facts["exactness"] == "estimate"
    scores = pl.read_csv("two.csv")["log_density"]
    assert facts["mean_log_density_error"] == pytest.approx(scores.std() / 200**0.5)
    assert f"± {facts['mean_log_density_error']:.2g} nats" in said


def test_fit_and_info_say_that_a_density_is_an_estimate(typed, estimated, here):
    quick = ("--flow", "ffjord", "--set", "hidden=8", "--set", "steps=2", "--epochs", "5")
    said = typed("fit", estimated / "wide.csv", *quick)
    told = typed("info", "wide.safetensors")
    for result in (said, told):
        assert result.status == 0
        assert "estimated mean log-density of" in result.out
        assert "an unbiased estimate" in " ".join(result.out.split())
    assert typed("info", "wide.safetensors", "--json").json()["exactness"] == "estimate"
    pf.save(pf.load("wide.safetensors").flow, "flow.safetensors")
    assert "an unbiased estimate" in " ".join(typed("info", "flow.safetensors").out.split())


def test_rows_of_density_zero_are_counted_apart(typed, here):
    data = numbers().with_columns(c=pl.col("c") + 0.1)
    flow = pf.flows.nsf(3, layers=1, hidden=(8,), start=pf.transforms.Log(3), seed=0)
    pf.save(pf.TableFlow(flow).fit(data, epochs=2, progress=False), "m.safetensors")
    data.with_columns(c=pl.when(pl.int_range(300) != 4).then("c").otherwise(-1.0)).write_csv(
        "t.csv"
    )
    said = " ".join(typed("score", "m.safetensors", "t.csv", "--out", "s.csv").out.split())
    assert "1 row lies where the density is zero, and the mean is that of the others" in said
    assert "inf nats" not in said
    facts = typed("score", "m.safetensors", "t.csv", "--out", "s.csv", "--json").json()
    assert facts["rows_of_density_zero"] == 1
    scores = pl.read_csv("s.csv")["log_density"]
    assert facts["mean_log_density"] == pytest.approx(scores.filter(scores.is_finite()).mean())
    assert facts["least_likely"][0]["row"] == 5


def test_of_an_exact_density_nothing_is_said(typed, folder, here):
    result = typed("score", folder / "model.safetensors", folder / "table.csv", "--out", "s.csv")
    assert "estimate" not in result.out
    assert "±" not in result.out
    assert typed("info", folder / "model.safetensors", "--json").json()["exactness"] == "exact"


def test_info_of_a_bare_flow(typed, here):
    pf.save(pf.flows.realnvp(4, layers=2, hidden=(8,), seed=0), "flow.safetensors")
    result = typed("info", "flow.safetensors")
    assert "realnvp layers=2 hidden=8" in result.out
    assert "Events of 4 numbers" in result.out
    assert typed("info", "flow.safetensors", "--json").json()["event_shape"] == [4]
    refused = typed("score", "flow.safetensors", "t.csv")
    assert refused.status == 1
    assert "knows no columns" in refused.err


def test_flows_lists_every_recipe(typed):
    listed = typed("flows")
    for name, recipe in pf.flows.RECIPES.items():
        assert name in listed.out
        assert recipe.paper in listed.out
    assert {one["name"] for one in typed("flows", "--json").json()} == set(pf.flows.RECIPES)
    assert "bins" in typed("flows", "nsf").out


def test_a_reader_that_leaves_early_is_no_error(folder):
    code = "from pushforward.cli import main; main()"
    words = ["sample", str(folder / "model.safetensors"), "-n", "200000"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"a,b,c\n"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_what_was_chosen_keeps_its_indent_where_lines_are_broken(typed, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    said = typed("fit", str(folder / "table.csv"), "--epochs", "1").out.splitlines()
    begin = next(i for i, line in enumerate(said) if line.startswith("Flow: "))
    end = next(i for i in range(begin, len(said)) if "by heart" in said[i])
    assert end > begin + 3
    assert all(line.startswith("  ") and len(line) <= 50 for line in said[begin + 2 : end + 1])


@pytest.mark.parametrize(
    ("flow", "settings"),
    [
        ("coupling", ["map=Affine", "layers=4", "hidden=8"]),
        ("ffjord", ["steps=2", "hidden=8"]),
        ("ffjord", ["tolerance=1e-2", "hidden=8"]),
        ("sylvester", ["rank=2", "layers=2"]),
        ("made", ["order=2,0,1", "hidden=8", "layers=1"]),
        ("maf", ["batch_norm=true", "layers=2", "hidden=8"]),
        ("ncsf", ["period=24", "layers=2", "hidden=8"]),
    ],
    ids=str,
)
def test_every_kind_of_setting_is_read_fitted_and_saved(typed, folder, here, flow, settings):
    words = [word for pair in settings for word in ("--set", pair)]
    done = typed("fit", folder / "table.csv", "--flow", flow, *words, "--epochs", "1", "--quiet")
    assert done.status == 0, done.err
    drawn = typed("sample", "table.safetensors", "-n", "3", "--out", "new.csv")
    assert drawn.status == 0, drawn.err


@pytest.mark.parametrize("name", ["made", "bnaf", "ffjord", "ncsf", "planar"])
def test_what_flows_suggests_can_be_typed(typed, folder, here, name):
    said = typed("flows", name).out.split("For example: pushforward fit DATA ")[1]
    words = " ".join(said.split()).split()
    done = typed("fit", folder / "table.csv", *words, "--epochs", "1", "--quiet")
    assert done.status == 0, done.err


def test_degrees_are_fitted_with_their_period_and_refused_without(typed, here):
    degrees = np.linspace(0.0, 359.0, 200)
    pl.DataFrame({"wind": degrees}).write_csv("deg.csv")
    words = ("fit", "deg.csv", "--flow", "ncsf", "--set", "layers=2", "--epochs", "1", "--quiet")
    refused = typed(*words)
    assert refused.status == 1
    assert "spans 57.1 periods" in refused.err
    assert "period=360" in refused.err
    done = typed(*words, "--set", "period=360")
    assert (done.status, done.err) == (0, "")


def test_flows_says_what_an_argument_may_be_and_suggests_none_that_has_no_effect(typed):
    told = " ".join(typed("flows", "sylvester").out.split())
    assert "orthogonal, householder or triangular" in told
    assert "--set hidden" not in told.split("For example: ")[1]
    assert "exact, hutchinson or auto" in " ".join(typed("flows", "ffjord").out.split())
