"""The packaged di-muon table is the real one: its shape, its types, its Z boson."""

import subprocess
import sys

import numpy as np
import pytest

from pushforward.data.packaged_data import cms_dimuon, packaged_path
from pushforward.errors import ArgumentError

KINEMATIC = ["pt1", "eta1", "phi1", "pt2", "eta2", "phi2"]


def test_shape_and_types():
    frame = cms_dimuon()
    assert frame.shape == (10583, 12)
    kinds = {name: str(kind) for name, kind in frame.schema.items()}
    assert kinds.pop("Q1") == kinds.pop("Q2") == "Int8"
    assert set(kinds.values()) == {"Float32"}
    assert frame.null_count().sum_horizontal().item() == 0


def test_columns_come_in_the_order_asked_for():
    assert cms_dimuon(["phi2", "pt1"]).columns == ["phi2", "pt1"]


def test_the_invariant_mass_peaks_at_the_z_boson():
    pt1, eta1, phi1, pt2, eta2, phi2 = cms_dimuon(KINEMATIC).to_numpy().astype(float).T
    mass = np.sqrt(2 * pt1 * pt2 * (np.cosh(eta1 - eta2) - np.cos(phi1 - phi2)))
    assert abs(np.median(mass) - 90.28) < 0.01


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(ArgumentError, match=r"'pt3'.*pt1, eta1"):
        cms_dimuon(["pt3"])
    with pytest.raises(ArgumentError, match=r"cms_dimuon\.parquet"):
        packaged_path("../packaged_data.py")


def test_the_licence_note_lies_beside_the_data():
    assert "Licence" in packaged_path("README.md").read_text(encoding="utf-8")


def test_importing_the_room_imports_nothing_heavy():
    code = (
        "import sys, pushforward.data as data; dir(data); "
        "print([m for m in ('polars', 'torch', 'numpy', 'pyarrow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
