"""What ``pf.fit`` takes as data, and the sentence it answers with where it does not."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from pushforward import Flow, bases
from pushforward import transforms as T
from pushforward.errors import (
    ArgumentError,
    ContextError,
    DataError,
    InputTypeError,
    NotFiniteError,
    ShapeError,
)
from pushforward.flows import nsf
from pushforward.objectives import Batch
from pushforward.training import fit
from pushforward.training.batches.rows import RowShape, as_rows
from pushforward.training.batches.sources import look, prepare
from pushforward.training.batches.table import TableBatches, split_rows


def quick(flow, data, **more):
    return fit(flow, data, **{"steps": 30, "batch_size": 64, "progress": False, **more})


class Rows(Dataset):
    def __init__(self, x, context=None):
        self.x, self.context = x, context

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] if self.context is None else (self.x[i], self.context[i])


class Stream(IterableDataset):
    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return iter(self.x)


# ---------------------------------------------------------------- tables

TABLES = {
    "float64 array": lambda x: x.double().numpy(),
    "fortran array": lambda x: np.asfortranarray(x.numpy()),
    "reversed view": lambda x: x.flip(1).numpy()[:, ::-1],
    "big endian": lambda x: x.numpy().astype(">f4"),
    "pandas": lambda x: pd.DataFrame(x.numpy(), columns=["a", "b"]),
    "polars": lambda x: pl.DataFrame(x.numpy(), schema=["a", "b"]),
    "arrow": lambda x: pa.table({"a": x[:, 0].numpy(), "b": x[:, 1].numpy()}),
    "tensor data set": TensorDataset,
    "tensor with a gradient": lambda x: x.clone().requires_grad_(),
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_of_table_gives_the_same_flow(build, ring, weights_of, same, kind):
    first, second = build(), build()
    quick(first, ring)
    quick(second, TABLES[kind](ring))
    assert same(weights_of(first), weights_of(second))


def test_a_read_only_array_is_taken_without_a_copy():
    array = np.zeros((10, 2), dtype=np.float32)
    array.flags.writeable = False
    assert as_rows("fit: data", array, torch.float32).data_ptr() == array.ctypes.data


def test_whole_numbers_become_floats(build):
    x = np.random.default_rng(0).integers(0, 9, (200, 2))
    quick(build(), x)
    assert as_rows("fit: data", x > 4, torch.float32).unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("float64 array", "row 17, column 1 is nan"),
        ("pandas", "row 17, column 'b' is"),
        ("polars", "row 17, column 'b' is nan"),
        ("arrow", "row 17, column 'b' is nan"),
    ],
)
def test_a_row_that_is_not_finite_is_named(build, ring, kind, place):
    x = ring.clone()
    x[17, 1] = torch.nan
    with pytest.raises(DataError, match=place):
        quick(build(), TABLES[kind](x))


def test_infinite_missing_and_too_large_values_are_named(build, ring):
    x = ring.double().numpy()
    x[599, 0] = -np.inf
    with pytest.raises(DataError, match="row 599, column 0 is -inf"):
        quick(build(), x)
    x[599, 0] = 1e300
    with pytest.raises(DataError, match=r"is 1e\+300, which torch.float32 cannot hold"):
        quick(build(), x)
    missing = pl.DataFrame({"a": [1.0, None], "b": [1.0, 2.0]})
    with pytest.raises(DataError, match="row 1, column 'a' is missing"):
        quick(build(), missing)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        ([[1.0, 2.0]], InputTypeError, "data is a list, expected a tensor"),
        ("events.csv", InputTypeError, "data is a str"),
        (None, InputTypeError, "data is a NoneType"),
        (object(), InputTypeError, "data is a object"),
        (np.array([["a", "b"]]), InputTypeError, "is an array of <U1"),
        (torch.zeros(5, 2, dtype=torch.complex64), InputTypeError, "is complex"),
        (pl.DataFrame({"a": [1.0], "b": ["x"]}), InputTypeError, "column 'b' holds String"),
        (torch.zeros(5, 3), ShapeError, r"data has shape \(5, 3\), expected \(n, 2\)"),
        (torch.zeros(5), ShapeError, r"data has shape \(5,\), expected \(n, 2\)"),
        (torch.zeros(0, 2), DataError, "data has no rows"),
        (torch.zeros(1, 2), DataError, "one row, which cannot be split"),
    ],
)
def test_other_data_is_refused(build, data, kind, said):
    with pytest.raises(kind, match=said):
        quick(build(), data, steps=30)


def test_weights_and_contexts_that_do_not_fit_are_refused(build, ring):
    weights = torch.ones(600)
    with pytest.raises(DataError, match="weights: row 3 is -1"):
        quick(build(), ring, weights=weights.index_fill(0, torch.tensor([3]), -1.0))
    with pytest.raises(DataError, match="weights are all zero"):
        quick(build(), ring, weights=0 * weights)
    with pytest.raises(ShapeError, match=r"weights have shape \(599,\), expected \(600,\)"):
        quick(build(), ring, weights=weights[1:])
    with pytest.raises(ContextError, match="with a context, but the flow reads none"):
        quick(build(), ring, context=ring)
    conditional = nsf(features=2, context=3, layers=1, hidden=(8,))
    with pytest.raises(ContextError, match=r"needs one of shape \(600, 3\)"):
        quick(conditional, ring)
    with pytest.raises(ShapeError, match=r"context has shape \(600, 2\), expected \(600, 3\)"):
        quick(conditional, ring, context=ring)
    with pytest.raises(ShapeError, match=r"context has shape \(599, 3\), expected \(600, 3\)"):
        quick(conditional, ring, context=torch.zeros(599, 3))


# ---------------------------------------------------------------- loaders and data sets


def test_a_data_set_is_split_and_shuffled(build, ring):
    history = quick(build(), Rows(ring), steps=150, lr=0.01)
    assert history.settings["rows"] == 512  # 540 in whole batches of 64
    assert history.settings["validation_rows"] == 60
    assert history.best.validation_loss < history.evaluations[0].validation_loss - 0.3


def test_a_loader_gives_context_and_weights(ring):
    flow = nsf(features=1, context=1, layers=1, hidden=(16,), bins=4, seed=0)
    x, context = ring[:, :1], ring[:, 1:]
    loader = DataLoader(TensorDataset(x, context, torch.full((600,), 5.0)), batch_size=64)
    held = (x[:100], context[:100])
    history = quick(flow, loader, validation=held, steps=150, lr=0.01, batch_size=None)
    first, last = history.evaluations[0], history.evaluations[-1]
    assert last.validation_loss < first.validation_loss - 0.3
    assert abs(last.train_loss - last.validation_loss) < 1  # weights had their mean divided out


def test_validation_can_be_any_of_these(build, ring):
    held = ring[:70]
    kinds = [held, held.numpy(), (held,), TensorDataset(held), Rows(held)]
    kinds.append(DataLoader(TensorDataset(held), batch_size=9))
    losses = {quick(build(), ring, validation=one).best.validation_loss for one in kinds}
    assert max(losses) - min(losses) < 1e-6


def test_a_stream_needs_the_number_of_steps(build, ring):
    with pytest.raises(ArgumentError, match="pass steps="):
        quick(build(), Stream(ring), validation=0, steps=None)
    history = quick(build(), Stream(ring), validation=0)
    assert history.evaluations[-1].epoch == 2.0  # ten batches a pass, the third one begun
    assert history.evaluations[-1].step == 30


@pytest.mark.parametrize(
    ("data", "more", "kind", "said"),
    [
        ("loader", {}, ArgumentError, "a DataLoader cannot be split"),
        ("loader", {"validation": 0, "batch_size": 64}, ArgumentError, "give it to the DataLoader"),
        ("loader", {"validation": 0, "weights": 1}, ArgumentError, "weights was given beside"),
        ("words", {"validation": 0}, InputTypeError, r"the DataLoader gave \(dict\)"),
        ("wide", {"validation": 0}, ShapeError, r"data has shape \(64, 3\), expected \(n, 2\)"),
        ("empty", {"validation": 0}, DataError, "gave no batch"),
        ("stream", {}, ArgumentError, "an IterableDataset cannot be split"),
    ],
)
def test_loaders_that_cannot_be_used_are_refused(build, ring, data, more, kind, said):
    data = {
        "loader": DataLoader(TensorDataset(ring), batch_size=64),
        "words": DataLoader([{"x": row} for row in ring], batch_size=64),
        "wide": DataLoader(TensorDataset(torch.zeros(600, 3)), batch_size=64),
        "empty": DataLoader([], batch_size=64),
        "stream": Stream(ring),
    }[data]
    with pytest.raises(kind, match=said):
        fit(build(), data, **{"steps": 30, "progress": False, **more})


def test_a_loader_with_bad_rows_is_found_out_in_training(gaussian, ring):
    x = ring.clone()
    x[:, 1] = torch.nan
    loader = DataLoader(TensorDataset(x), batch_size=64)
    with pytest.raises(
        NotFiniteError, match=r"began in the data \(64 of 64 rows, first in column 1"
    ):
        quick(gaussian(), loader, validation=0, batch_size=None)


# ---------------------------------------------------------------- rows that have no density


def positive():
    return nsf(2, layers=1, hidden=(8,), start=T.Log(2), seed=0)


def bad_at(row, rows=300):
    x = torch.rand(rows, 2, generator=torch.Generator().manual_seed(0)) + 0.5
    x[row] = torch.tensor([-1.0, 2.0])
    return x


FITTING = bad_at(0)[1:]

OUTSIDE = {
    "tensor": lambda x: (x, {}),
    "array": lambda x: (x.double().numpy(), {}),
    "frame": lambda x: (pd.DataFrame(x.numpy(), columns=["a", "b"]), {}),
    "data set of tensors": lambda x: (TensorDataset(x), {}),
    "data set": lambda x: (Rows(x), {}),
    "loader": lambda x: (DataLoader(Rows(x), 32, shuffle=True), {"validation": 0}),
    "validation rows": lambda x: (FITTING, {"validation": x}),
    "validation data set": lambda x: (FITTING, {"validation": Rows(x)}),
    "validation of a loader": lambda x: (DataLoader(FITTING, 32), {"validation": (x,)}),
    "weighted": lambda x: (x, {"weights": torch.arange(len(x)) > 9}),
}


@pytest.mark.parametrize("row", [29, 299])
@pytest.mark.parametrize("fitted_before", [False, True])
@pytest.mark.parametrize("kind", OUTSIDE)
def test_a_row_outside_the_support_is_refused_by_its_number(kind, fitted_before, row):
    flow = positive()
    if fitted_before:
        quick(flow, FITTING, steps=6)
    data, more = OUTSIDE[kind](bad_at(row))
    if isinstance(data, DataLoader):
        more = {"batch_size": None, **more}
    with pytest.raises(DataError) as caught:
        quick(flow, data, **more)
    name = "validation" if "validation" in kind else "data"
    said = str(caught.value)
    assert said.startswith(f"fit: {name}: 1 of ")
    assert f"no density, the first is row {row}, [-1.0, 2.0]; expected numbers in (0, inf)" in said


def test_a_row_of_a_stream_outside_the_support_is_refused_when_it_comes():
    with pytest.raises(DataError, match="of a batch has no density, the first is row 9 of batch 2"):
        quick(positive(), Stream(bad_at(41)), validation=0, batch_size=16)


def test_a_row_that_is_made_anew_is_told_by_its_batch():
    class Moving(Rows):
        def __getitem__(self, i):
            return self.x[i] * (1.0 + torch.rand(()))

    loader = DataLoader(Moving(bad_at(41)), batch_size=16)
    with pytest.raises(DataError, match="the first is row 9 of batch 2"):
        quick(positive(), loader, validation=0, batch_size=None)


def test_a_row_without_weight_may_lie_outside():
    weights = torch.ones(300)
    weights[29] = 0.0
    history = quick(positive(), bad_at(29), weights=weights)
    assert history.best.validation_loss < history.evaluations[0].validation_loss
    held = (bad_at(29), None, weights)
    assert quick(positive(), FITTING, validation=held).best.step > 0


def test_the_rows_of_an_event_of_many_numbers_are_not_all_shown():
    x = torch.ones(40, 50)
    x[3, 7] = -1.0
    with pytest.raises(DataError, match=r"the first is row 3, \[(1.0, ){7}-1.0, …\]"):
        quick(nsf(50, layers=1, hidden=(8,), start=T.Log(50)), x)


def test_a_validation_figure_that_is_never_finite_is_no_result():
    x = torch.randn(500, 1)
    far = torch.tensor([[0.0], [9.0]])
    flow = Flow(T.Diagonal(1), bases.Uniform(1, -5.0, 5.0))
    with pytest.raises(NotFiniteError, match=r"began in the density of the base \(1 of 2 rows\)"):
        quick(flow, x, validation=far, steps=8, lr=1e-6)
    assert "training" not in flow.facts


# ---------------------------------------------------------------- batches


def test_every_row_is_seen_once_a_pass_in_an_order_of_its_own():
    table = Batch(torch.arange(100.0)[:, None])
    training, held = split_rows(100, 0.2, seed=0)
    batches = TableBatches(table, training, 16, torch.device("cpu"), seed=0)
    assert batches.steps_per_epoch == 5
    passes = []
    for _ in range(2):
        rows = torch.cat([batches.gather(batches.next()).x[:, 0] for _ in range(5)])
        assert rows.sort().values.tolist() == training.tolist()
        passes.append(rows.tolist())
    assert passes[0] != passes[1]
    assert not set(held.tolist()) & set(passes[0])
    assert len(held) == 20


def test_weights_have_mean_one_over_the_training_rows(ring):
    given = look(ring, None, torch.arange(1.0, 601.0), 0.25, RowShape((2,)), torch.float32)
    sources = prepare(given, RowShape((2,)), torch.float32, torch.device("cpu"), 50, seed=0)
    batches = sources.batches
    weights = torch.cat([batches.gather(batches.next()).weights for _ in range(9)])
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-6)


def test_a_large_table_is_not_copied():
    x = torch.zeros(400_000, 20)
    size = x.numel() * x.element_size()
    shape, cpu = RowShape((20,)), torch.device("cpu")
    given = look(x, None, None, 0.1, shape, torch.float32)
    sources = prepare(given, shape, torch.float32, cpu, 1024, seed=0)
    assert given.data.x.data_ptr() == x.data_ptr()
    assert sources.batches.table.x.data_ptr() == x.data_ptr()
    assert sources.validation.table.x.data_ptr() == x.data_ptr()
    assert sources.sample.x.numel() * 4 < size  # the one copy: training rows, for flow.fit
