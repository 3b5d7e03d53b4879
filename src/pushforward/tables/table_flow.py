"""A flow for a table: frames in, frames out."""

from __future__ import annotations

import inspect
import json
import math
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, InputTypeError, ModelFileError, NotFittedError
from pushforward.flows import Flow, find
from pushforward.flows.savable import Savable
from pushforward.spec import Part, Reader, Writer
from pushforward.tables.choice import Choice, build
from pushforward.tables.fitting import QUANTILES, drift, measure, read, train, with_range_of
from pushforward.tables.partial.questions import PartialRows
from pushforward.tables.rows import Rows, share_above
from pushforward.tables.schema.schema import Missing, Schema
from pushforward.training import History

if TYPE_CHECKING:
    import numpy

    from pushforward.tables.scoring import Scorer

__all__ = ["TableFlow"]


class TableFlow(PartialRows, Savable, Part):
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
        self._quantiles = torch.full((QUANTILES,), math.nan, dtype=torch.float64)
        self._scores: Scorer | None = None
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
    def schema(self) -> Schema:  # type: ignore[override]
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
        signed_weights: bool = False,
        missing: Missing = "refuse",
        types: Mapping[str, Any] | None = None,
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
            signed_weights: whether these may be negative.
            missing: ``refuse`` rows with missing or infinite values, ``drop`` them, or ``model``
                that a value is missing.
            types: what columns are, where that is not what their values look like, such as
                ``{"phi": "circular:360"}``; see ``infer_schema``.
            validation: share of the rows held out, for early stopping and for the report.
            progress: whether to show progress.
            ready: called with schema, choice and flow when all is read and training begins.
            **options: further arguments of ``pf.fit`` (``epochs``, ``checkpoint``, ``device`` …).

        Raises:
            DataError: the table cannot be used; the message names column and row.
            ArgumentError: an argument has a value that cannot be used.
        """
        from pushforward.data.readers import open_table
        from pushforward.tables.schema.inference import infer_schema
        from pushforward.tables.schema.matrix import layouts, refuse_outside

        began = time.perf_counter()
        table = open_table(data)
        schema = infer_schema(
            table,
            columns=columns,
            context=context,
            weights=weights,
            missing=missing,
            types=types,
            signed=signed_weights,
            plain=_plain(self._asked),
        )
        rows, held, _ = read(table, schema, validation, self._seed, options)
        flow, choice = build(self._asked, self._settings, rows, layouts(schema), self._seed)
        refuse_outside(table, schema, flow)
        options |= {"signed_weights": signed_weights, "progress": progress}
        self._train(flow, choice, schema, rows, held, ready, options)
        self._quantiles, self.report = measure(self._scorer(), rows, held, began)
        return self

    def update(
        self,
        data: Any,
        *,
        validation: float = 0.1,
        progress: bool = True,
        ready: Callable[[Schema, Mapping[str, Any], Flow], object] | None = None,
        **options: Any,
    ) -> TableFlow:
        """Go on learning from new rows of the same columns, from what the model is now.

        ``report["drift"]`` then says how far the new rows are from those of before.

        Args:
            data: the new rows; types, labels and ends stay what they are.
            validation: share of the rows held out.
            progress: whether to show progress.
            ready: called with schema, choice and flow when training begins.
            **options: further arguments of ``pf.fit``.

        Raises:
            DataError: the rows do not fit the model.
            NotFittedError: it was not fitted before.
        """
        from pushforward.data.readers import open_table

        began = time.perf_counter()
        table = open_table(data)
        rows, held, used = read(table, self.schema, validation, self._seed, options)
        schema = with_range_of(self.schema, rows, held)
        schema = replace(schema, rows_read=table.rows, rows_dropped=table.rows - used)
        moved = drift(self._scorer(), self._quantiles, self.report, held)
        choice = Choice.from_dict(self.choice)
        options |= {"signed_weights": schema.signed_weights, "progress": progress}
        self._train(self.flow, choice, schema, rows, held, ready, options)
        self._quantiles, self.report = measure(self._scorer(), rows, held, began)
        self.report["drift"] = moved
        return self

    def _train(
        self,
        flow: Flow,
        choice: Choice,
        schema: Schema,
        rows: Rows,
        held: Rows,
        ready: Callable[[Schema, Mapping[str, Any], Flow], object] | None,
        options: Mapping[str, Any],
    ) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        choice = choice.beside(given)
        self.choice = choice.to_dict()
        if ready is not None:
            ready(schema, self.choice, flow)
        self._history = train(flow, choice, schema, rows, held, **{"seed": self._seed, **given})
        self._flow, self._schema, self._scores = flow, schema, None
        # From here on this table is described by the flow it has, no longer by how it was chosen.
        self._arguments["call"] = {"flow": flow, "seed": self._seed}

    # ------------------------------------------------------------------ scores

    def _scorer(self) -> Scorer:
        """What rows are scored and drawn with."""
        from pushforward.tables.scoring import Scorer

        if self._scores is None:
            self._scores = Scorer(self.flow, self.schema)
        return self._scores

    def log_prob(self, data: Any, *, unseen: str = "error") -> numpy.ndarray[Any, Any]:
        """Log-density of each row in nats, ``(n,)`` in float64, in the table's own units.

        It is the density of the columns of numbers times the probability of the others. Columns
        are matched by name. A row with a missing value gives NaN if the model was fitted with
        ``missing="drop"``, and is refused if it was with ``"refuse"``.

        Where ``flow.exactness`` is ``estimate`` or ``bound`` a row carries noise, which goes with
        its place in the table: the same table gives the same figures.

        Args:
            data: the rows.
            unseen: ``error`` refuses a label that no training row had; ``lowest`` gives such a row
                the density of the least likely label.
        """
        import numpy

        from pushforward.data.readers import open_table

        self.notes = []
        chunks = self._scorer().chunks(open_table(data), unseen, self.notes)
        return numpy.concatenate([log_p for _, log_p in chunks])

    def outlier_score(self, data: Any, *, unseen: str = "error") -> numpy.ndarray[Any, Any]:
        """Share of the training rows that were likelier than each row, ``(n,)``: 1 is far out."""
        return share_above(self._quantiles.numpy(), self.log_prob(data, unseen=unseen))

    def score(self, data: Any, *, unseen: str = "error") -> Any:
        """The table with ``log_density`` (nats) and ``outlier_score`` added, as it came in."""
        import polars

        from pushforward.data.frames import to_native
        from pushforward.data.readers import open_table
        from pushforward.tables.schema.matching import SCORES

        table, known = open_table(data), self._quantiles.numpy()
        if table.native == "pandas":  # its index and its kinds of columns stay as they are
            log_p = self.log_prob(table, unseen=unseen)
            scored = {"log_density": log_p, "outlier_score": share_above(known, log_p)}
            result = data.drop(columns=list(scored), errors="ignore").assign(**scored)
        else:
            frames, self.notes = [], []
            for frame, log_p in self._scorer().chunks(table, unseen, self.notes):
                scores = polars.DataFrame(
                    {"log_density": log_p, "outlier_score": share_above(known, log_p)}
                ).fill_nan(None)
                kept = frame.drop([c for c in scores.columns if c in frame.columns])
                frames.append(polars.concat([kept, scores], how="horizontal"))
            result = to_native(polars.concat(frames, how="vertical_relaxed"), table.native)
        there = [name for name in SCORES if name in table.names]
        if there:
            listed = " and ".join(map(repr, there))
            self.notes.append(f"{table.title}: {listed} were there already and are replaced.")
        return result

    # ------------------------------------------------------------------ samples

    def sample(self, n: int, *, given: Any = None, seed: int | None = None) -> Any:
        """New rows, as a frame like the one that came in (polars for a file).

        Context columns are given exactly. Others may be given, too, one value each: rows are then
        drawn from the joint density by weight, and ``notes`` say how many draws they are worth.

        Args:
            n: number of rows (of rows for each given row, if ``given`` is a frame).
            given: values of columns, ``{"name": value}``, of the context columns all of them; or a
                frame of these.
            seed: seed of the draws; None uses torch's own state.

        Raises:
            ArgumentError: ``n`` is below 1, or ``given`` does not name the context columns.
            DataError: what is given is too unlikely to be drawn.
        """
        from pushforward.tables.sampling import sample

        if not hasattr(n, "__index__") or n < 1:
            raise ArgumentError(f"TableFlow.sample: n is {n!r}, expected at least 1.")
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        frame, self.notes = sample(self._completing(), operator.index(n), given, generator)
        return frame

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
        self._scores = None

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


def _plain(asked: str | Flow) -> Literal["", "numbers", "all"]:
    """Which columns a flow takes as numbers: one of one's own all, one of angles all numbers."""
    if isinstance(asked, Flow):
        return "all"
    angles = asked != "auto" and "period" in inspect.signature(find(asked).build).parameters
    return "numbers" if angles else ""
