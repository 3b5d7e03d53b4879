"""A table in several files whose columns are not written alike."""

import pushforward as pf


def test_files_that_write_a_column_as_whole_and_as_decimal_numbers(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n" + "".join(f"{i},{i * 3}.5\n" for i in range(40)))
    (tmp_path / "2.csv").write_text("a,b\n" + "".join(f"{i}.25,{i * i}\n" for i in range(40)))
    table = pf.TableFlow("realnvp", settings={"layers": 2, "hidden": [8]})
    table.fit(str(tmp_path), epochs=1, progress=False)
    assert table.score(str(tmp_path)).height == 80
