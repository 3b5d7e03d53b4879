"""A flow for a table: frames in, frames out."""

from __future__ import annotations

import json
import math
import operator
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, InputTypeError, ModelFileError, NotFittedError
from pushforward.flows import Flow, find
from pushforward.numerics.subset import some_of
from pushforward.spec import Part, Reader, Writer
from pushforward.tables.choice import build, likelihood
from pushforward.tables.gaussian import reference
from pushforward.tables.partial.questions import PartialRows
from pushforward.tables.rows import (
    Rows,
    counting,
    mean_and_error,
    refuse_constant,
    scoring_noise,
    share_above,
    split,
)
from pushforward.tables.schema.schema import Missing, Schema
from pushforward.training import History
from pushforward.training import fit as fit_flow

if TYPE_CHECKING:
    import numpy

    from pushforward.tables.scoring import Scorer

__all__ = ["TableFlow"]

_QUANTILES = 4001  # of the training rows' log-densities
_SCORED = 100_000  # training rows that are scored for them, at most


class TableFlow(PartialRows, Part):
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
        from pushforward.tables.schema.matrix import layouts, load_matrix, refuse_outside

        began = time.perf_counter()
        if not 0.0 < validation < 1.0:
            raise ArgumentError(
                f"TableFlow.fit: validation is {validation}, expected a share between 0 and 1."
            )
        table = open_table(data)
        schema = infer_schema(
            table,
            columns=columns,
            context=context,
            weights=weights,
            missing=missing,
            types=types,
            plain=isinstance(self._asked, Flow),
        )
        layout = layouts(schema)
        dtype = torch.float64 if options.get("precision") == "float64" else torch.float32
        rows = counting(Rows(*load_matrix(table, schema, dtype=dtype)))
        train, held = split(len(rows.x), validation, self._seed)
        held_out, rows = rows.take(held), rows.take(train)
        refuse_constant(rows.x[:, layout[0].head :], layout[0].names[layout[0].head :], table.title)
        flow, choice = build(self._asked, self._settings, rows, layout, self._seed)
        refuse_outside(table, schema, flow)
        # rows a step and learning rate belong together: who gives one of them chooses both
        options = {name: value for name, value in options.items() if value is not None}
        if options.keys() & {"batch_size", "lr", "optimizer"}:
            choice = replace(choice, training={})
        self.choice = choice.to_dict()
        if ready is not None:
            ready(schema, self.choice, flow)
        self._history = fit_flow(
            flow,
            rows.x,
            context=rows.context if flow.context else None,
            weights=rows.weights,
            validation=tuple(held_out if flow.context else held_out._replace(context=None)),
            progress=progress,
            seed=self._seed,
            **{"objective": likelihood(choice, layout[0]), **choice.training, **options},
        )
        self._keep(flow, schema)
        self._measure(rows, held_out, began)
        return self

    def _keep(self, flow: Flow, schema: Schema) -> None:
        self._flow, self._schema, self._scores = flow, schema, None
        # From here on this table is described by the flow it has, no longer by how it was chosen.
        self._arguments["call"] = {"flow": flow, "seed": self._seed}

    def _measure(self, train: Rows, held: Rows, began: float) -> None:
        """Held-out figures beside those of a simple model, and the quantiles of training rows."""
        scorer, noise = self._scorer(), scoring_noise()
        log_p = scorer.log_prob(held.x, held.context, noise)
        simple, simple_log_p = reference(scorer.features, train, held)
        nats, error = mean_and_error(log_p, held.weights)
        simple_nats, simple_error = mean_and_error(simple_log_p, held.weights)
        rows = len(train.x)
        some = train.take(some_of(rows, _SCORED))
        of_training = scorer.log_prob(some.x, some.context, noise).sort().values
        place = torch.linspace(0, len(of_training) - 1, _QUANTILES, dtype=torch.float64).round()
        self._quantiles = of_training[place.long()]
        self.report = {
            "rows_read": self.schema.rows_read,
            "rows_dropped": self.schema.rows_dropped,
            "training_rows": rows,
            "held_out_rows": len(held.x),
            "nats": nats,
            "nats_error": error,
            "reference": simple,
            "reference_nats": simple_nats,
            "reference_nats_error": simple_error,
            "seconds": time.perf_counter() - began,
        }

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

    def save(self, path: str | os.PathLike[str]) -> None:
        """The same as ``pf.save(table, path)``."""
        from pushforward.flows.saving import save

        save(self, path)
