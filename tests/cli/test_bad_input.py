"""Every wrong input: one clear sentence on standard error, status 1 or 2, and no traceback."""

import pickle
from dataclasses import dataclass

import polars as pl
import pytest
from tests.cli.conftest import QUICK, numbers


@dataclass(frozen=True)
class Bad:
    """A command that cannot be done.

    Attributes:
        name: what is wrong.
        words: what is typed; ``{folder}`` holds a good table.csv and model.safetensors.
        says: what the sentence contains.
        status: 1 for a problem with data, model file or machine, 2 for wrong usage.
        write: called with an empty folder, the current one, to put a file there.
    """

    name: str
    words: str
    says: tuple[str, ...]
    status: int = 1
    write: object = None


def csv(text, name="bad.csv"):
    return lambda here: (here / name).write_text(text)


def rows(**columns):
    """A table of 30 rows with these columns changed."""

    def write(here):
        table = numbers(30).with_columns(**columns)
        table.write_csv(here / "bad.csv")

    return write


def at(row, value, column="b"):
    """The column of the good table with one value changed; rows count from 1."""
    values = numbers(30)[column].to_list()
    values[row - 1] = value
    return pl.Series(values)


def model(change):
    """A model file with its bytes changed."""

    def write(here):
        content = bytearray((here / "good.safetensors").read_bytes())
        (here / "bad.safetensors").write_bytes(change(content))

    write.needs_model = True
    return write


def flipped(content):
    place = content.index(b'"spec') if b'"spec' in content else 200
    content[place + 3] ^= 1
    return content


def flipped_tensor(content):
    content[-5] ^= 16
    return content


FIT = "fit bad.csv --out m.safetensors"
GOOD = "fit {folder}/table.csv --out m.safetensors"
MODEL = "{folder}/model.safetensors"

CASES = [
    Bad("unknown file", "fit nothing.csv", ("nothing.csv",)),
    Bad("empty file", FIT, ("bad.csv", "empty"), write=csv("")),
    Bad("header only", FIT, ("bad.csv", "no rows"), write=csv("a,b\n")),
    Bad("names of rows", FIT, ("'c'", "--columns"), write=rows(c="row " + pl.col("c").cast(str))),
    Bad("missing value", FIT, ("'b'", "row 7", "--missing drop"), write=rows(b=at(7, None))),
    Bad("infinite value", FIT, ("'b'", "row 9"), write=rows(b=at(9, float("inf")))),
    Bad("constant columns", FIT, ("same value",), write=csv("a,b\n" + "1,x\n" * 30)),
    Bad("copy of a column", FIT, ("'c' is a copy of 'a'",), write=rows(c=2.0 * pl.col("a"))),
    Bad("repeated name", FIT, ("'a'",), write=csv("a,a\n" + "1,2\n" * 30)),
    Bad("one row", FIT, ("1 row", "at least 2"), write=csv("a,b\n1,2\n")),
    Bad("ragged rows", FIT, ("bad.csv",), write=csv("a,b\n1,2\n3\n4,5,6\n" * 10)),
    Bad("unknown extension", "fit table.xyz", (".xyz",), write=csv("a,b\n", "table.xyz")),
    Bad(
        "no table at all", "fit junk.parquet", ("junk.parquet",), write=csv("junk", "junk.parquet")
    ),
    Bad(
        "picture", "fit p.csv", ("PNG",), write=lambda h: (h / "p.csv").write_bytes(b"\x89PNG\r\n")
    ),
    Bad("empty folder", "fit .", ("no",)),
    Bad("unknown column", f"{GOOD} --columns a,bb", ("'bb'", "'b'")),
    Bad("unknown context", f"{GOOD} --context z", ("--context", "'z'")),
    Bad("column in two parts", f"{GOOD} --columns a,b --context b", ("'b'",)),
    Bad("negative weight", f"{FIT} --weights c", ("'c'", "negative"), write=rows(c=-pl.col("c"))),
    Bad("unknown flow", f"{GOOD} --flow nfs", ("'nfs'", "'nsf'"), 2),
    Bad("set without =", f"{GOOD} --set layers", ("'layers'", "KEY=VALUE"), 2),
    Bad("set unknown key", f"{GOOD} --set layer=3", ("layer", "'layers'"), 2),
    Bad("set no number", f"{GOOD} --set layers=many", ("layers=many", "whole number"), 2),
    Bad("set no layers", f"{GOOD} --set layers=0", ("layers is 0",), 2),
    Bad("set unknown word", f"{GOOD} --set activation=relo", ("activation",), 2),
    Bad("unknown option", f"{GOOD} --epoch 3", ("--epoch",), 2),
    Bad("no epochs", f"{GOOD} --epochs 0", ("--epochs",), 2),
    Bad("batch size 0", f"{GOOD} --batch-size 0", ("batch-size",), 2),
    Bad("unknown missing", f"{GOOD} --missing fill", ("fill", "refuse, drop or model"), 2),
    Bad("unknown device", f"{GOOD} --device tpu9", ("tpu9",), 2),
    Bad("resume without checkpoint", f"{GOOD} --resume", ("--checkpoint",), 2),
    Bad("output folder missing", "fit {folder}/table.csv --out no/m.safetensors", ("no", "exist")),
    Bad("model of another ending", "fit {folder}/table.csv --out m.pt", (".safetensors",)),
    Bad(
        "output is the input",
        "fit t.safetensors --out t.safetensors",
        ("--out",),
        2,
        write=csv("x", "t.safetensors"),
    ),
    Bad("command unknown", "fitt x.csv", ("fitt",), 2),
    Bad("model missing", "info no.safetensors", ("no.safetensors",)),
    Bad(
        "model cut short",
        "info bad.safetensors",
        ("bad.safetensors", "cut short"),
        write=model(lambda content: content[:-100]),
    ),
    Bad("model empty", "info bad.safetensors", ("bad.safetensors",), write=model(lambda _: b"")),
    Bad("header of model changed", "info bad.safetensors", ("damaged",), write=model(flipped)),
    Bad(
        "tensor of model changed",
        "info bad.safetensors",
        ("checksum",),
        write=model(flipped_tensor),
    ),
    Bad(
        "pickle as a model",
        "info bad.safetensors",
        ("pickle",),
        write=lambda here: (here / "bad.safetensors").write_bytes(pickle.dumps({"a": 1})),
    ),
    Bad("table as a model", "score {folder}/table.csv {folder}/table.csv", ("table.csv", "not")),
    Bad(
        "scored table lacks a column",
        f"score {MODEL} bad.csv",
        ("'c'",),
        write=lambda here: numbers(30).drop("c").write_csv(here / "bad.csv"),
    ),
    Bad("scored table has text", f"score {MODEL} bad.csv", ("'c'",), write=rows(c=pl.lit("red"))),
    Bad("scored table is missing", f"score {MODEL} no.csv", ("no.csv",)),
    Bad(
        "scored into nowhere", f"score {MODEL} {{folder}}/table.csv --out no/s.csv", ("folder no",)
    ),
    Bad("scored into a word file", f"score {MODEL} {{folder}}/table.csv --out s.doc", (".doc",)),
    Bad("json without out", f"score {MODEL} {{folder}}/table.csv --json", ("--out",), 2),
    Bad("no samples", f"sample {MODEL} -n 0", ("'-n'",), 2),
    Bad("fewer samples", f"sample {MODEL} -n -5", ("'-n'",), 2),
    Bad("given the impossible", f"sample {MODEL} -n 5 --given c=-1", ("'c' is -1", "below 0"), 2),
    Bad(
        "given unknown column",
        "sample {folder}/given.safetensors --given c=1 --given d=1 -n 5",
        ("'d'",),
        2,
    ),
    Bad(
        "given a feature and no context",
        "sample {folder}/given.safetensors --given a=1 -n 5",
        ("--given c=VALUE",),
        2,
    ),
    Bad("given nothing", "sample {folder}/given.safetensors -n 5", ("--given c=VALUE",), 2),
    Bad("given no number", f"sample {MODEL} --given c=red", ("'red'",), 2),
    Bad("flow unknown to flows", "flows nfs", ("'nsf'",), 2),
]


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
def test_one_sentence(bad, typed, folder, here):
    if getattr(bad.write, "needs_model", False):
        (here / "good.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    if bad.write is not None:
        bad.write(here)
    before = sorted(here.iterdir())
    words = bad.words.format(folder=folder).split()
    result = typed(*words, *(QUICK[-1:] if words[0] == "fit" else ()))
    assert result.status == bad.status, result.err
    told = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(told) == 1, result.err
    for part in bad.says:
        assert part in result.err
    assert "Traceback" not in result.err
    assert "internal error" not in result.err
    assert result.out == ""
    assert sorted(here.iterdir()) == before  # nothing half-done is left


def test_debug_shows_the_traceback(typed, folder, here):
    from pushforward.errors import DataError

    with pytest.raises(DataError):
        typed("fit", "nothing.csv", "--debug")


@pytest.mark.parametrize("name", ["BAD.CSV", "Data.csv", "fit.csv", "Folder", "Data.v2"])
def test_a_sentence_about_a_file_begins_with_its_name(typed, here, name):
    bad = "a,b\n" + "1.5,2.5\n" * 30 + "1.0,\n"
    if name.lower().endswith(".csv"):
        (here / name).write_text(bad)
    else:
        (here / name).mkdir()
        for part in ("one.csv", "two.csv"):
            (here / name / part).write_text(bad)
    assert typed("fit", name).err.startswith(f"Error: {name}: column 'b' has ")


def test_a_missing_file_is_named_first(typed, here):
    assert typed("fit", "Missing.csv").err.startswith("Error: Missing.csv does not exist.")
