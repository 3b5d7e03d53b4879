"""A table in several files whose columns are not written alike."""

import pytest
import torch

import pushforward as pf
from pushforward.errors import DataError
from pushforward.tables.rows import refuse_constant


def test_files_that_write_a_column_as_whole_and_as_decimal_numbers(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n" + "".join(f"{i},{i * 3}.5\n" for i in range(40)))
    (tmp_path / "2.csv").write_text("a,b\n" + "".join(f"{i}.25,{i * i}\n" for i in range(40)))
    table = pf.TableFlow("realnvp", settings={"layers": 2, "hidden": [8]})
    table.fit(str(tmp_path), epochs=1, progress=False)
    assert table.score(str(tmp_path)).height == 80


def test_a_column_that_varies_in_the_held_out_rows_only_is_named():
    x = torch.stack((torch.zeros(27), torch.arange(27.0)), 1)
    with pytest.raises(DataError, match="column 'a' is the same in all 27 rows"):
        refuse_constant(x, ["a", "b"])
