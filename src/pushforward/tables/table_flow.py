"""A flow for a table: frames in, frames out."""

from __future__ import annotations

import copy
import json
import math
import operator
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, InputTypeError, ModelFileError, NotFittedError
from pushforward.flows import Flow, find
from pushforward.numerics.subset import some_of
from pushforward.objectives import MaximumLikelihood
from pushforward.spec import Part, Reader, Writer
from pushforward.tables.choice import build
from pushforward.tables.gaussian import GaussianReference
from pushforward.tables.rows import (
    Rows,
    counting,
    mean_and_error,
    refuse_constant,
    scoring_noise,
    share_above,
    split,
)
from pushforward.tables.schema import Missing, Schema
from pushforward.training import History
from pushforward.training import fit as fit_flow

if TYPE_CHECKING:
    import numpy

    from pushforward.data.table_source import TableSource

__all__ = ["TableFlow"]

_QUANTILES = 4001  # of the training rows' log-densities
_SCORED = 100_000  # training rows that are scored for them, at most
_CHUNK = 8192  # rows scored at a time


class TableFlow(Part):
    """The density of a table: a schema, a flow, its history, and how likely its rows were.

    Args:
        flow: ``auto`` chooses from rows and columns; or the name of a recipe; or a ``Flow``.
        settings: arguments of the recipe, such as ``{"layers": 4}``.
        seed: seed of weights, split and training.

    Attributes:
        schema: names, types, order and ranges of the columns.
        flow: the flow; it works on the columns less their offsets, in the same units.
        history: the training run.
        choice: recipe, arguments and why.
        report: rows, held-out nats a row and those of a full-covariance Gaussian, seconds.
        notes: what the last call had to say, for instance which columns it ignored.

    Raises:
        ArgumentError: an unknown recipe, or settings that it does not take.
        NotFittedError: a table is scored or sampled before ``fit``.

    Example:
        >>> import torch, pushforward as pf
        >>> frame = {"a": torch.randn(300).tolist(), "b": torch.rand(300).tolist()}
        >>> table = pf.TableFlow("realnvp", settings={"layers": 2, "hidden": [8]})
        >>> table = table.fit(frame, steps=5, progress=False)
        >>> table.sample(4, seed=0).columns
        ['a', 'b']
        >>> table.log_prob(frame).shape
        (300,)
    """

    def __init__(
        self,
        flow: str | Flow = "auto",
        *,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(flow, str | Flow):
            raise InputTypeError(
                f"TableFlow: flow is a {type(flow).__name__}, expected 'auto', the name of a "
                f"recipe or a Flow."
            )
        if isinstance(flow, str) and flow != "auto":
            find(flow)
        if isinstance(flow, Flow) and settings:
            raise ArgumentError("TableFlow: settings are for a recipe; a Flow has its own already.")
        self._asked = flow
        self._settings = dict(settings or {})
        self._seed = int(seed)
        self._flow: Flow | None = flow if isinstance(flow, Flow) else None
        self._schema: Schema | None = None
        self._history: History | None = None
        # log-densities of training rows, from the least likely to the likeliest
        self._quantiles = torch.full((_QUANTILES,), math.nan, dtype=torch.float64)
        self._scorer: Flow | None = None
        self.choice: dict[str, Any] = {}
        self.report: dict[str, Any] = {}
        self.notes: list[str] = []

    # ------------------------------------------------------------------ what fit learned

    @property
    def flow(self) -> Flow:
        """The fitted flow."""
        if self._flow is None:
            raise NotFittedError("TableFlow.flow: there is none yet; call fit first.")
        return self._flow

    @property
    def schema(self) -> Schema:
        """The columns the model reads."""
        if self._schema is None:
            raise NotFittedError("TableFlow.schema: there is none yet; call fit first.")
        return self._schema

    @property
    def history(self) -> History:
        """The training run."""
        if self._history is None:
            raise NotFittedError("TableFlow.history: there is none yet; call fit first.")
        return self._history

    # ------------------------------------------------------------------ fit

    def fit(
        self,
        data: Any,
        *,
        columns: Sequence[str] | None = None,
        context: Sequence[str] = (),
        weights: str | None = None,
        missing: Missing = "refuse",
        validation: float = 0.1,
        progress: bool = True,
        ready: Callable[[Schema, Mapping[str, Any], Flow], object] | None = None,
        **options: Any,
    ) -> TableFlow:
        """Learn the density of a table.

        Args:
            data: a file, a folder, a glob, a frame (pandas, polars, Arrow), an array or a dict.
            columns: the columns to model; by default all that are neither context nor weights.
            context: columns that the density is conditioned on.
            weights: a column of row weights.
            missing: ``refuse`` rows with missing or infinite values, or ``drop`` them.
            validation: share of the rows held out, for early stopping and for the report.
            progress: whether to show progress.
            ready: called with schema, choice and flow when all is read and training begins.
            **options: further arguments of ``pf.fit`` (``epochs``, ``checkpoint``, ``device`` …).

        Raises:
            DataError: the table cannot be used; the message names column and row.
            ArgumentError: an argument has a value that cannot be used.
        """
        from pushforward.data.readers import open_table
        from pushforward.tables.schema_inference import infer_schema
        from pushforward.tables.schema_matrix import load_matrix, refuse_outside

        began = time.perf_counter()
        if not 0.0 < validation < 1.0:
            raise ArgumentError(
                f"TableFlow.fit: validation is {validation}, expected a share between 0 and 1."
            )
        table = open_table(data)
        schema = infer_schema(
            table, columns=columns, context=context, weights=weights, missing=missing
        )
        dtype = torch.float64 if options.get("precision") == "float64" else torch.float32
        rows = counting(Rows(*load_matrix(table, schema, dtype=dtype)))
        train, held = split(len(rows.x), validation, self._seed)
        held_out, rows = rows.take(held), rows.take(train)
        refuse_constant(rows, schema.features, table.title)
        flow, choice = build(self._asked, self._settings, rows, self._seed)
        refuse_outside(table, schema, flow)
        # rows a step and learning rate belong together: who gives one of them chooses both
        options = {name: value for name, value in options.items() if value is not None}
        if options.keys() & {"batch_size", "lr", "optimizer"}:
            choice = replace(choice, training={})
        self.choice = choice.to_dict()
        if ready is not None:
            ready(schema, self.choice, flow)
        objective = MaximumLikelihood(choice.smoothing)
        self._history = fit_flow(
            flow,
            rows.x,
            context=rows.context,
            weights=rows.weights,
            validation=tuple(held_out),
            progress=progress,
            seed=self._seed,
            **{"objective": objective, **choice.training, **options},
        )
        self._keep(flow, schema)
        self._measure(rows, held_out, began)
        return self

    def _keep(self, flow: Flow, schema: Schema) -> None:
        self._flow, self._schema, self._scorer = flow, schema, None
        # From here on this table is described by the flow it has, no longer by how it was chosen.
        self._arguments["call"] = {"flow": flow, "seed": self._seed}

    def _measure(self, train: Rows, held: Rows, began: float) -> None:
        """Held-out figures beside a Gaussian's, and the quantiles of the training rows."""
        noise = scoring_noise()
        log_p = self._score(held.x, held.context, noise)
        reference = GaussianReference(*train).log_prob(held.x, held.context)
        nats, error = mean_and_error(log_p, held.weights)
        gaussian, gaussian_error = mean_and_error(reference, held.weights)
        rows = len(train.x)
        some = train.take(some_of(rows, _SCORED))
        of_training = self._score(some.x, some.context, noise).sort().values
        place = torch.linspace(0, len(of_training) - 1, _QUANTILES, dtype=torch.float64).round()
        self._quantiles = of_training[place.long()]
        self.report = {
            "rows_read": self.schema.rows_read,
            "rows_dropped": self.schema.rows_dropped,
            "training_rows": rows,
            "held_out_rows": len(held.x),
            "nats": nats,
            "nats_error": error,
            "gaussian_nats": gaussian,
            "gaussian_nats_error": gaussian_error,
            "seconds": time.perf_counter() - began,
        }

    # ------------------------------------------------------------------ scores

    def log_prob(self, data: Any) -> numpy.ndarray[Any, Any]:
        """Log-density of each row in nats, ``(n,)`` in float64, in the table's own units.

        Columns are matched by name. A row with a missing value gives NaN if the model was fitted
        with ``missing="drop"``, and is refused otherwise.

        Where ``flow.exactness`` is ``estimate`` or ``bound`` a row carries noise, which goes with
        its place in the table: the same table gives the same figures.
        """
        import numpy

        return numpy.concatenate([chunk[1] for chunk in self._scored(data)])

    def outlier_score(self, data: Any) -> numpy.ndarray[Any, Any]:
        """Share of the training rows that were likelier than each row, ``(n,)``: 1 is far out."""
        return share_above(self._quantiles.numpy(), self.log_prob(data))

    def score(self, data: Any) -> Any:
        """The table with ``log_density`` (nats) and ``outlier_score`` added, as it came in."""
        import polars

        from pushforward.data.frames import to_native
        from pushforward.data.readers import open_table

        table, known = open_table(data), self._quantiles.numpy()
        if table.native == "pandas":  # its index and its kinds of columns stay as they are
            log_p = self.log_prob(table)
            self._note_replaced(table)
            scored = {"log_density": log_p, "outlier_score": share_above(known, log_p)}
            return data.drop(columns=list(scored), errors="ignore").assign(**scored)
        frames = []
        for frame, log_p in self._scored(table):
            scores = polars.DataFrame(
                {"log_density": log_p, "outlier_score": share_above(known, log_p)}
            ).fill_nan(None)
            kept = frame.drop([c for c in scores.columns if c in frame.columns])
            frames.append(polars.concat([kept, scores], how="horizontal"))
        self._note_replaced(table)
        return to_native(polars.concat(frames, how="vertical_relaxed"), table.native)

    def _note_replaced(self, table: TableSource) -> None:
        from pushforward.tables.schema_matching import SCORES

        there = [name for name in SCORES if name in table.names]
        if there:
            listed = " and ".join(map(repr, there))
            self.notes.append(f"{table.title}: {listed} were there already and are replaced.")

    def _scored(self, data: Any) -> Iterator[tuple[Any, numpy.ndarray[Any, Any]]]:
        """Chunks of a table with the log-densities of their rows."""
        from pushforward.data.readers import open_table
        from pushforward.tables.schema_matching import match
        from pushforward.tables.schema_matrix import chunk_rows

        schema = self.schema
        table = open_table(data)
        columns, self.notes = table.names, []
        # an array has no names: if it is as wide as the model, its columns are taken in order
        if table.kind != "array" or len(columns) != len(schema.names):
            found = match(columns, schema, what=table.title)
            columns, self.notes = found.columns, [found.note] if found.note else []
        offsets = torch.tensor([schema.column(n).offset for n in schema.names], dtype=torch.float64)
        width, noise = len(schema.features), scoring_noise()
        for chunk, rows, complete in chunk_rows(table, table.names, columns, schema, table.title):
            values = torch.from_numpy(rows[complete]) - offsets
            log_p = torch.full((len(rows),), math.nan, dtype=torch.float64)
            c = values[:, width:] if schema.context else None
            log_p[torch.from_numpy(complete)] = self._score(values[:, :width], c, noise)
            yield chunk.frame, log_p.numpy()

    def _score(self, x: Tensor, context: Tensor | None, noise: torch.Generator) -> Tensor:
        """Log-densities in float64, so that an exact score does not depend on its batch."""
        pieces, scorer = [], self._in_double()
        with torch.no_grad():
            for i in range(0, len(x), _CHUNK):
                s = slice(i, i + _CHUNK)
                c = None if context is None else context[s].double()
                pieces.append(scorer.log_prob(x[s].double(), c, generator=noise))
        return torch.cat(pieces) if pieces else torch.empty(0, dtype=torch.float64)

    def _in_double(self) -> Flow:
        """The flow that rows are scored and drawn with."""
        if self._scorer is None:
            self._scorer = copy.deepcopy(self.flow).to("cpu").double().eval()
        return self._scorer

    # ------------------------------------------------------------------ samples

    def sample(
        self, n: int, *, given: Mapping[str, float] | Any = None, seed: int | None = None
    ) -> Any:
        """New rows, as a frame like the one that came in (polars for a file).

        Args:
            n: number of rows (of rows for each given row, if ``given`` is a frame).
            given: values of the context columns, ``{"name": value}``, or a frame of them.
            seed: seed of the draws; None uses torch's own state.

        Raises:
            ArgumentError: ``n`` is below 1, or ``given`` does not name the context columns.
        """
        from pushforward.tables.sampling import sample_frame

        if not hasattr(n, "__index__") or n < 1:
            raise ArgumentError(f"TableFlow.sample: n is {n!r}, expected at least 1.")
        return sample_frame(self._in_double(), self.schema, operator.index(n), given, seed)

    # ------------------------------------------------------------------ saving

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors: those of the flow, and the quantiles of the training rows."""
        state = {f"flow.{k}": v for k, v in self.flow.state_dict().items()}
        return {**state, "quantiles": self._quantiles}

    def load_state_dict(
        self, state: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> None:
        """Take back what ``state_dict`` gave."""
        of_flow = {k.removeprefix("flow."): v for k, v in state.items() if k.startswith("flow.")}
        self.flow.load_state_dict(of_flow, strict=strict, assign=assign)
        self.flow.eval()
        self._quantiles = state["quantiles"]
        self._scorer = None

    def remembered(self) -> dict[str, Any]:
        """Schema, history, choice, report, and the facts of the flow."""
        return {
            "schema": self.schema.to_dict(),
            "history": json.loads(self.history.to_json()),
            "choice": self.choice,
            "report": self.report,
            "flow": self.flow.remembered(),
            "asked": self._asked if isinstance(self._asked, str) else "",
            "settings": Writer().value(self._settings, "TableFlow(settings=…)"),
        }

    def remember(self, facts: Mapping[str, Any]) -> None:
        """Take back what ``remembered`` gave."""
        try:
            self._schema = Schema.from_dict(facts["schema"])
            self._history = History.from_json(json.dumps(facts["history"]))
            self.choice, self.report = dict(facts["choice"]), dict(facts["report"])
            self.flow.remember(facts["flow"])
            # fit begins anew with what was asked for then, not with the flow of that time
            self._asked = facts["asked"] or self._asked
            self._settings = Reader({}).value(facts["settings"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f"pf.load: the table's description is damaged ({error})."
            ) from error

    def to(self, device: str | torch.device) -> TableFlow:
        """Move the flow; rows are scored and drawn on the CPU in float64 all the same."""
        self.flow.to(device)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """The same as ``pf.save(table, path)``."""
        from pushforward.flows.saving import save

        save(self, path)
