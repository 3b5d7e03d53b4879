"""Every door to a table gives the same rows, and every bad table one clear sentence."""

import datetime
import math

import numpy as np
import pandas
import polars as pl
import pyarrow as pa
import pytest
import torch

from pushforward.data.frames import to_native
from pushforward.data.readers import open_table
from pushforward.data.writers import check_output, write_table
from pushforward.errors import DataError, InputTypeError

FRAME = pl.DataFrame({"a": [1.5, 2.5, -3.25], "b": [4, 5, 6], "c": [0.5, 0.25, 0.125]})
EXTENSIONS = [".csv", ".tsv", ".parquet", ".feather", ".arrow", ".ipc", ".npz"]


def whole(source, columns=None, size=65536) -> pl.DataFrame:
    return pl.concat([chunk.frame for chunk in open_table(source).chunks(columns, size)])


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_file_gives_back_what_was_written(tmp_path, extension, size):
    path = tmp_path / f"t{extension}"
    write_table(FRAME, path)
    table = open_table(path)
    assert (table.names, table.rows, table.kind, table.native) == (
        ("a", "b", "c"),
        3,
        "file",
        "polars",
    )
    assert whole(path, size=size).equals(FRAME)
    assert whole(path, ["c", "a"], size).equals(FRAME["c", "a"])
    assert [chunk.first_row for chunk in table.chunks(size=2)] == [1, 3]
    assert {chunk.file for chunk in table.chunks()} == {str(path)}


def test_npy_is_a_matrix_without_names(tmp_path):
    write_table(FRAME, tmp_path / "t.npy")
    table = open_table(tmp_path / "t.npy")
    assert table.names == ("x0", "x1", "x2")
    assert np.array_equal(whole(tmp_path / "t.npy").to_numpy(), FRAME.to_numpy())


def test_an_npz_may_hold_a_matrix_and_names(tmp_path):
    np.savez(tmp_path / "t.npz", X=FRAME.to_numpy(), columns=np.array(["p", "q", "r"]))
    assert open_table(tmp_path / "t.npz").names == ("p", "q", "r")
    np.savez(tmp_path / "t.npz", X=FRAME.to_numpy())
    assert open_table(tmp_path / "t.npz").names == ("x0", "x1", "x2")


@pytest.mark.parametrize(
    ("source", "kind", "native"),
    [
        (FRAME, "frame", "polars"),
        (FRAME.lazy(), "frame", "polars"),
        (FRAME.to_pandas(), "frame", "pandas"),
        (FRAME.to_arrow(), "frame", "arrow"),
        (FRAME.to_dict(as_series=False), "columns", "polars"),
        ({name: torch.tensor(FRAME[name].to_list()) for name in "abc"}, "columns", "polars"),
        (FRAME.to_numpy(), "array", "polars"),
        (torch.tensor(FRAME.to_numpy()), "array", "polars"),
        (torch.tensor(FRAME.to_numpy()).bfloat16(), "array", "polars"),
        (FRAME.to_numpy().astype(">f4"), "array", "polars"),
        (FRAME.to_numpy().astype("f2"), "array", "polars"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_tables_in_memory(source, kind, native):
    table = open_table(source)
    assert (table.kind, table.native, table.rows) == (kind, native, 3)
    assert np.array_equal(whole(source, size=2).to_numpy().astype(float), FRAME.to_numpy())
    assert table.names == (("x0", "x1", "x2") if kind == "array" else ("a", "b", "c"))


@pytest.mark.parametrize("make", [FRAME.to_pandas, FRAME.to_arrow, FRAME.clone])
def test_frames_are_given_back_as_they_came(make):
    frame = make()
    native = open_table(frame).native
    with_text = FRAME.with_columns(t=pl.Series(["x", None, "z"]))
    assert type(to_native(FRAME, native)) is type(frame)
    assert whole(to_native(with_text, native)).equals(with_text)


def test_a_vector_is_one_column():
    assert open_table(np.arange(5.0)).names == ("x0",)


def test_pandas_names_that_are_numbers_become_text():
    assert open_table(pandas.DataFrame(FRAME.to_numpy())).names == ("0", "1", "2")


def test_pandas_with_text_and_gaps():
    frame = pandas.DataFrame({"n": pandas.array([1, None], dtype="Int64"), "t": ["x", "y"]})
    assert whole(frame)["t"].to_list() == ["x", "y"]
    number = whole(frame)["n"].to_list()
    assert number[0] == 1
    assert number[1] is None or np.isnan(number[1])


def test_structured_arrays_name_their_columns():
    array = np.array([(1.0, 2), (3.0, 4)], dtype=[("e", "f8"), ("n", "i4")])
    assert open_table(array).names == ("e", "n")


def test_folders_and_globs_are_read_in_sorted_order(tmp_path):
    write_table(FRAME[2:], tmp_path / "b.csv")
    write_table(FRAME[:2]["c", "a", "b"], tmp_path / "a.csv")
    (tmp_path / "README.md").write_text("not a table")
    (tmp_path / ".hidden.csv").write_text("")
    assert whole(tmp_path).equals(FRAME["c", "a", "b"])
    assert whole(tmp_path / "*.csv").equals(whole(tmp_path))
    assert [chunk.first_row for chunk in open_table(tmp_path).chunks()] == [1, 1]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    write_table(FRAME, tmp_path / "run[1].csv")
    assert open_table(tmp_path / "run[1].csv").rows == 3


class TestCsv:
    def read(self, tmp_path, text, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return whole(path)

    def test_types_are_decided_by_every_cell(self, tmp_path):
        rows = "\n".join("1,2,true,7" for _ in range(20_000))
        frame = self.read(tmp_path, f"a,b,c,d\n{rows}\n1,2.5,false,abc\n")
        assert [str(kind) for kind in frame.dtypes] == ["Int64", "Float64", "Boolean", "String"]
        assert frame["d"][0] == "7"

    def test_missing_cells_and_blanks(self, tmp_path):
        frame = self.read(tmp_path, "a,b,t\n 1 ,NA,NA\n, 2.5,x\nnull,nan,\n")
        assert frame["a"].to_list() == [1, None, None]
        assert frame["b"].to_list()[:2] == [None, 2.5]
        assert frame["b"].is_nan()[2]
        assert frame["t"].to_list() == ["NA", "x", None]

    def test_whole_numbers_keep_all_their_digits(self, tmp_path):
        assert self.read(tmp_path, "id\n9007199254740993\n")["id"].to_list() == [9007199254740993]

    @pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
    def test_line_ends(self, tmp_path, end):
        eol = "\r\n" if end == "\r\n" else "\n"
        frame = self.read(tmp_path, f"a,b{eol}1,2{eol}3,4{end}")
        assert frame.rows() == [(1, 2), (3, 4)]

    def test_quotes_line_breaks_and_byte_order_mark(self, tmp_path):
        frame = self.read(tmp_path, b'\xef\xbb\xbf"a\nx","b, y"\n1,"p\nq"\n2,"r,s"\n')
        assert frame.columns == ["a\nx", "b, y"]
        assert frame.rows() == [(1, "p\nq"), (2, "r,s")]

    @pytest.mark.parametrize("mark", [";", "\t"])
    def test_other_separators(self, tmp_path, mark):
        assert self.read(tmp_path, f"a{mark}b\n1{mark}2\n").rows() == [(1, 2)]

    def test_blocks_are_cut_at_rows(self, tmp_path, monkeypatch):
        text = "a,t\n" + "".join(f'{i},"{"x" * (i % 7)}\n,{i}"\r\n' for i in range(200)) + "\n"
        expected = self.read(tmp_path, text)
        assert expected["a"].to_list() == list(range(200))
        for size in (1, 7, 64, 1000):
            monkeypatch.setattr("pushforward.data.files.delimited._BLOCK", size)
            assert self.read(tmp_path, text).equals(expected)

    def test_a_blank_line_within_is_a_row_of_gaps_in_every_block_size(self, tmp_path, monkeypatch):
        for size in (1, 2, 3, 5, 8, 1000):
            monkeypatch.setattr("pushforward.data.files.delimited._BLOCK", size)
            rows = self.read(tmp_path, "a,b\n\n1,2\n\n\n3,4\n\n").rows()
            gap = (None, None)
            assert rows == [gap, (1, 2), gap, gap, (3, 4)]


BAD_FILES = {
    "empty.csv": (b"", "is empty"),
    "blank.csv": (b"\n \n\n", "is empty"),
    "header.csv": (b"a,b\n", "no rows"),
    "twice.csv": (b"a,b,a\n1,2,3\n", "columns 1 and 3 are called 'a'"),
    "unnamed.csv": (b"a,,\n1,2,3\n", "columns 2 and 3 have no name"),
    "numbers.csv": (b"1.5,2.5\n3,4\n", "begins with a row of numbers"),
    "long.csv": (b"a,b\n1,2\n3,4,5\n", "row 2 has 3 values"),
    "open.csv": (b'a,t\n1,x\n2,"y\n3,z\n', "row 2 has a quotation mark without its partner"),
    "inch.csv": (b'a,t\n1,x\n2,y\n3,5" pipe\n4,z\n', "row 3 has a quotation mark without"),
    "latin.csv": (b"a,b\n1,2\n3,\xe9\n", "row 2 is not UTF-8"),
    "picture.csv": (b"\x89PNG\r\n\x1a\n\x00\x00", "a PNG image"),
    "other.csv": (b"PAR1\x15\x04\n\x15\0", r"name it \.parquet"),
    "wide.csv": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    "zero.csv": (b"a\0,b\n1,2\n", "not a table in UTF-8"),
    "garbage.parquet": (b"hello there, this is no parquet", "cannot be read as Parquet"),
    "picture.parquet": (b"\x89PNG\r\n\x1a\n\x00\x00", "a PNG image"),
    "none.parquet": (b"", "cannot be read as Parquet"),
    "garbage.arrow": (b"hello there, this is no arrow", "cannot be read as Arrow"),
    "cut.arrow": (b"ARROW1\0\0", "cannot be read as Arrow"),
    "garbage.npy": (b"hello there", "cannot be read as .npy"),
    "pickle.npy": (b"\x80\x04K\x01.", "pickle"),
    "none.npy": (b"", "cannot be read as .npy"),
    "garbage.npz": (b"PK\x03\x04nonsense", "cannot be read as .npz"),
    "sheet.xlsx": (b"PK\x03\x04", r"extension '\.xlsx', expected \.csv"),
    "noname": (b"a\n1\n", "has no extension"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, name):
    content, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_table(tmp_path / name)
    assert name in str(caught.value)
    assert str(caught.value).startswith("DATA: ") or "row" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((2, 2)), "columns": np.array(["a"])}, "1 names and X 2 columns"),
        ({"X": np.zeros((2, 2)), "columns": np.array(["a", "a"])}, "two columns called 'a'"),
        ({"X": np.zeros((2, 2)), "y": np.zeros(2)}, r"holds X \(2, 2\), y \(2,\)"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, r"a \(2,\), b \(3,\)"),
        ({"a": np.array(["u", "v"])}, "expected numbers"),
        ({"a": np.array([None, 1])}, "never unpickled"),
    ],
)
def test_bad_npz_archives(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_table(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.array(1.0), r"shape \(\)"),
        (np.array(["a"]), "expected numbers"),
        (np.array([1 + 2j]), "complex128"),
        (np.array([None, 1]), "object|objects"),
        (np.zeros((0, 2)), "no rows"),
    ],
)
def test_bad_arrays_in_files_and_in_memory(tmp_path, array, message):
    np.save(tmp_path / "t.npy", array, allow_pickle=True)
    for source in (tmp_path / "t.npy", array):
        with pytest.raises(DataError, match=message):
            open_table(source)


def test_a_parquet_file_cut_short(tmp_path):
    write_table(pl.DataFrame({"a": np.arange(10_000.0)}), tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cut short"):
        open_table(tmp_path / "t.parquet")


def test_a_parquet_file_damaged_inside_names_the_file(tmp_path):
    write_table(pl.DataFrame({"a": np.arange(100_000)}), tmp_path / "t.parquet")
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[4:4000] = b"\xff" * 3996
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"t\.parquet cannot be read from row 1 on"):
        list(open_table(tmp_path / "t.parquet").chunks())


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_duplicated_names_in_columnar_files(tmp_path, kind):
    import pyarrow.parquet

    table = pa.table([pa.array([1, 2]), pa.array([3, 4])], names=["a", "a"])
    path = tmp_path / ("t.parquet" if kind == "parquet" else "t.arrow")
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as file, new(file, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(DataError, match="two columns of one name"):
        open_table(path)


def test_an_arrow_stream_is_read_too(tmp_path):
    FRAME.write_ipc_stream(tmp_path / "t.arrow")
    assert whole(tmp_path / "t.arrow").equals(FRAME)


def test_duplicated_names_in_frames():
    with pytest.raises(DataError, match="two columns called 'a'"):
        open_table(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="two columns called '1'"):
        open_table(pandas.DataFrame([[1, 2]], columns=[1, "1"]))
    with pytest.raises(DataError, match="two columns called 'a'"):
        open_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))


def test_paths_that_lead_nowhere(tmp_path):
    write_table(FRAME, tmp_path / "events.csv")
    with pytest.raises(DataError, match=r"does not exist\. Did you mean 'events\.csv'"):
        open_table(tmp_path / "event.csv")
    with pytest.raises(DataError, match="Nor does the folder"):
        open_table(tmp_path / "nowhere" / "t.csv")
    with pytest.raises(DataError, match="no file matches"):
        open_table(tmp_path / "*.parquet")
    with pytest.raises(DataError, match="is an address"):
        open_table("https://example.org/t.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no table"):
        open_table(tmp_path / "empty")


def test_files_of_one_table_must_agree(tmp_path):
    write_table(FRAME, tmp_path / "a.csv")
    write_table(FRAME.rename({"c": "d"}), tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"b\.csv lacks 'c' and has 'd' more"):
        open_table(tmp_path)
    write_table(FRAME, tmp_path / "b.parquet")
    with pytest.raises(DataError, match="different kinds"):
        open_table(tmp_path)


@pytest.mark.parametrize("source", [None, 3, [1, 2], b"bytes", object()])
def test_what_is_no_table_is_refused_by_its_type(source):
    with pytest.raises(InputTypeError, match="expected the path of a"):
        open_table(source)


def test_columns_of_unequal_length():
    with pytest.raises(DataError, match=r"different lengths \(a 1, b 2\)"):
        open_table({"a": [1], "b": [1, 2]})


def test_an_unknown_column_is_answered_with_the_nearest():
    with pytest.raises(DataError, match="Did you mean 'alpha'"):
        list(open_table({"alpha": [1.0]}).chunks(["alhpa"]))


class TestWriting:
    def test_refusals_come_before_any_work(self, tmp_path):
        with pytest.raises(DataError, match=r"extension '\.xlsx', expected \.csv"):
            check_output(tmp_path / "t.xlsx")
        with pytest.raises(DataError, match="does not exist"):
            check_output(tmp_path / "no" / "t.csv")
        (tmp_path / "t.csv").mkdir()
        with pytest.raises(DataError, match="is a folder"):
            check_output(tmp_path / "t.csv")

    def test_text_does_not_go_into_an_array(self, tmp_path):
        with pytest.raises(DataError, match="cannot hold column 't'"):
            write_table(pl.DataFrame({"t": ["x"]}), tmp_path / "t.npy")
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_write_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch):
        write_table(FRAME, tmp_path / "t.csv")
        before = (tmp_path / "t.csv").read_bytes()

        def fail(table, path):
            path.write_text("half")
            raise OSError(28, "No space left on device")

        monkeypatch.setitem(write_table.__globals__["_WRITERS"], ".csv", fail)
        with pytest.raises(DataError, match="No space left"):
            write_table(FRAME, tmp_path / "t.csv")
        assert (tmp_path / "t.csv").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]

    def test_other_frames_are_written_too(self, tmp_path):
        for frame in (FRAME.to_pandas(), FRAME.to_arrow(), FRAME.to_dict(as_series=False)):
            write_table(frame, tmp_path / "t.parquet")
            assert whole(tmp_path / "t.parquet").equals(FRAME)

    def test_a_column_may_be_called_file(self, tmp_path):
        write_table(FRAME.rename({"a": "file"}), tmp_path / "t.npz")
        assert open_table(tmp_path / "t.npz").names == ("file", "b", "c")


def test_pandas_gets_its_types_back():
    frame = pandas.DataFrame(
        {
            "time": pandas.to_datetime(["2020-06-01 10:00", "2020-12-01 11:00"]).tz_localize(
                "America/New_York"
            ),
            "kind": pandas.Categorical(["x", "y"]),
            "count": pandas.array([1, None], dtype="Int64"),
            "flag": pandas.array([True, None], dtype="boolean"),
            "day": [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
            "number": [0.5, math.nan],
        }
    )
    (chunk,) = open_table(frame).chunks()
    again = to_native(chunk.frame, "pandas")
    assert list(again.dtypes.astype(str)) == [
        str(kind).replace("[ns", "[us").replace("[s,", "[us,") for kind in frame.dtypes
    ]
    for name in frame:
        assert again[name].isna().tolist() == frame[name].isna().tolist()
        there = ~frame[name].isna()
        assert again[name][there].tolist() == frame[name][there].tolist()


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["01", "02", "10"], pl.String),  # names of places, which would lose their zeros
        (["0", "7", "10"], pl.Int64),
        (["0.5", "00.5", "1"], pl.Float64),
        (["-0", "3", "4"], pl.Int64),
    ],
)
def test_whole_numbers_with_zeros_in_front_are_text(tmp_path, cells, kind):
    (tmp_path / "t.csv").write_text("\n".join(["code,x", *(f"{cell},1" for cell in cells)]))
    frame = whole(tmp_path / "t.csv")
    assert frame["code"].dtype == kind
    assert kind != pl.String or frame["code"].to_list() == cells
