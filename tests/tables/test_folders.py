"""A table in several files whose columns are not written alike."""

import pytest
import torch

import pushforward as pf
from pushforward.errors import DataError
from pushforward.tables.rows import refuse_constant, varied


def test_files_that_write_a_column_as_whole_and_as_decimal_numbers(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n" + "".join(f"{i},{i * 3}.5\n" for i in range(40)))
    (tmp_path / "2.csv").write_text("a,b\n" + "".join(f"{i}.25,{i * i}\n" for i in range(40)))
    table = pf.TableFlow("realnvp", settings={"layers": 2, "hidden": [8]})
    table.fit(str(tmp_path), epochs=1, progress=False)
    assert table.score(str(tmp_path)).height == 80


def test_a_column_that_is_the_same_in_all_rows_is_named():
    x = torch.stack((torch.zeros(27), torch.arange(27.0)), 1)
    with pytest.raises(DataError, match="column 'a' is the same in all 27 rows"):
        refuse_constant(x, ["a", "b"])


def test_a_column_that_varies_in_a_held_out_row_only_is_learned_from_that_row():
    x = torch.stack((torch.zeros(30), torch.arange(30.0)), 1)
    x[28, 0] = 1.0
    learned, held = varied(x, torch.arange(27), torch.arange(27, 30))
    assert sorted(torch.cat((learned, held)).tolist()) == list(range(30))
    assert 28 in learned
    assert held.tolist() == [27, 29]
