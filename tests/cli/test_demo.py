"""The demonstration: the physics is right, and failing it is noticed."""

import sys

import numpy as np
import polars as pl
import pytest

from pushforward.cli.demo import COLUMNS, invariant_mass
from pushforward.data import cms_dimuon


def test_the_data_have_their_peak_at_the_z_boson():
    mass = invariant_mass(cms_dimuon(COLUMNS))
    assert np.median(mass) == pytest.approx(90.28, abs=0.005)


def test_momentum_below_zero_has_no_mass():
    frame = cms_dimuon(COLUMNS).head(2).with_columns(pt1=pl.Series([-1.0, 30.0]))
    assert np.isnan(invariant_mass(frame)).tolist() == [True, False]


def test_the_demonstration_learns_the_peak(typed, here):
    result = typed("demo", "--fast", "--out", "shown")
    assert result.status == 0, result.err
    assert "columns independent of each other" in result.out
    assert {path.name for path in (here / "shown").iterdir()} == {
        "dimuon.safetensors",
        "dimuon.png",
        "generated.csv",
    }
    generated = pl.read_csv(here / "shown" / "generated.csv")
    assert generated.columns == list(COLUMNS)
    assert generated.height == 10583
    assert np.nanmedian(invariant_mass(generated)) == pytest.approx(90.28, abs=1.5)


def test_without_matplotlib_bars_of_text_take_the_picture_s_place(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    masses = (invariant_mass(cms_dimuon(COLUMNS)),) * 2
    module = sys.modules["pushforward.cli.demo"]
    assert module._draw(masses, here / "no.png") is False
    from pushforward.cli.screen import console

    module._print(console(), module._compare(*masses), masses, here, picture=False)
    told = capsys.readouterr().out
    assert "pip install 'pushforward[plots]'" in told
    assert "█" in told
    assert not (here / "no.png").exists()
