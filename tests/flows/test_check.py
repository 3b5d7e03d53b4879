"""The self-test passes what is right, and says what is wrong and where when something is wrong."""

import math

import polars as pl
import pytest
import torch
from tests.flows.cases import CASES, made

import pushforward as pf
from pushforward import Flow, bases, flows
from pushforward import transforms as T
from pushforward.errors import ArgumentError, ContextError, InputTypeError, ShapeError
from pushforward.transforms import Transform

ROUND = "x -> z -> x"
BACK = "z -> x -> z"
LOGDET = "logdet is autograd's"
PAIRS = "sample_and_log_prob is log_prob"
INTEGRAL = "density integrates to 1"
SAVED = "save and load give the same flow"
LOG2 = math.log(2.0)
NEAR, FAR = "finite gradients at the data", "finite gradients 10 spreads out"

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def checked(flow, x=None, context=None, **options):
    return pf.check(flow, x, context, **{"show": False, **options})


def failed(report):
    return {finding.law for finding in report.findings if finding.passed is False}


def finding(report, law):
    return next(found for found in report.findings if found.law == law)


class Doubling(Transform):
    """z = 2x + 1, with something that may be wrong about it."""

    def __init__(self, features, logdet=LOG2, inverse=1.0):
        super().__init__()
        self.event_shape = (features,)
        self.logdet, self.back = logdet * features, inverse
        self.features = features

    def _forward(self, x, context):
        return 2.0 * x + 1.0, x.new_full(x.shape[:-1], self.logdet)

    def _inverse(self, z, context):
        return (z - self.back) / 2.0, z.new_full(z.shape[:-1], -self.logdet)


class Boxed(Transform):
    """The identity in [-3, 3]; beyond it a root whose gradient is not a number leaks through."""

    def __init__(self, features):
        super().__init__()
        self.event_shape = (features,)

    def _forward(self, x, context):
        wave = (9.0 - x.square()).sqrt()
        return torch.where(x.abs() < 3.0, x + 0.0 * wave, x), x.new_zeros(x.shape[:-1])

    def _inverse(self, z, context):
        return z, z.new_zeros(z.shape[:-1])


class Halved(bases.Base):
    """A standard normal density of which half is forgotten."""

    def __init__(self, features):
        super().__init__()
        self.event_shape = (features,)

    def log_prob(self, z, context=None):
        return bases.Normal(*self.event_shape).log_prob(z, context) - math.log(2.0)

    def rsample(self, n=(), context=None, *, generator=None):
        return bases.Normal(*self.event_shape).rsample(n, context, generator=generator)


class Dropped(Transform):
    """The identity, whose shift is a plain attribute that no file holds."""

    def __init__(self, features):
        super().__init__()
        self.event_shape = (features,)
        self.by = 0.0

    def _forward(self, x, context):
        return x + self.by, x.new_zeros(x.shape[:-1])

    def _inverse(self, z, context):
        return z - self.by, z.new_zeros(z.shape[:-1])


def broken(transform, features=2):
    return Flow(transform, bases.Normal(features)).double()


# ---------------------------------------------------------------------- what is right


@every_case
@pytest.mark.parametrize("features", [1, 3])
def test_every_recipe_passes(case, features):
    if case.name == "ncsf":
        pytest.skip("its far samples have few digits; test_every_recipe checks it on angles")
    report = checked(made(case, features))
    assert report.passed, str(report)
    integral = finding(report, INTEGRAL)
    assert integral.passed is (True if features == 1 else None)


def test_the_integral_over_a_plane_is_checked():
    report = checked(made(CASES[1], 2))
    assert report.passed, str(report)
    assert finding(report, INTEGRAL).passed is True


@every_case
def test_every_recipe_passes_with_a_context(case):
    if case.name == "ncsf":
        pytest.skip("its far samples have few digits; test_every_recipe checks it on angles")
    flow = made(case, 1, 2)
    report = checked(flow, context=torch.randn(40, 2))
    assert report.passed, str(report)
    assert checked(flow, x=flow.sample(9, torch.zeros(2)), context=[1.0, -1.0]).passed


def test_single_precision_passes():
    flow = flows.nsf(2, layers=3, hidden=(16,), seed=0)
    pf.fit(flow, torch.randn(200, 2) * 5.0 + 100.0, steps=10, progress=False)
    report = checked(flow)
    assert report.passed, str(report)
    assert finding(report, "dtype is kept").where == "float32"


def test_a_correct_transform_of_ones_own_passes():
    assert checked(broken(Doubling(2))).passed


def test_laws_that_cannot_be_checked_say_why():
    report = checked(Flow(T.Diagonal(300), bases.Normal(300)))
    assert report.passed
    assert finding(report, LOGDET).passed is None
    assert finding(report, LOGDET).where == "300 features"
    assert finding(report, INTEGRAL).passed is None


def _angles():
    return flows.ncsf(2, layers=2, hidden=(8,), seed=0).double()


def _hours_and_a_line():
    inner = Flow(T.Columns(T.Logit(1, -12.0, 12.0), T.LU(1)), bases.Normal(2))
    return Flow(T.Columns(T.Circle(1, 24.0), T.LU(1)), inner)


def _hours_and_degrees():
    ends = torch.tensor([12.0, 180.0])
    steps = T.Columns(T.Circle(1, 24.0), T.Circle(1, 360.0))
    return Flow(steps, bases.Uniform(2, -ends, ends))


PERIODS = [(_angles, [2 * math.pi] * 2), (_hours_and_a_line, [24.0, 9.0])]
PERIODS.append((_hours_and_degrees, [24.0, 360.0]))


@pytest.mark.parametrize(("build", "periods"), PERIODS)
def test_angles_may_come_back_under_another_name(build, periods):
    flow = build()
    x = torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(periods)
    report = checked(flow, x)
    assert report.passed, str(report)
    assert finding(report, INTEGRAL).passed is True
    assert finding(report, INTEGRAL).value == pytest.approx(1.0, abs=0.01)


def test_an_angle_that_comes_back_as_another_angle_is_found():
    class Turned(T.Circle):
        def _back(self, z):
            x, logdet = super()._back(z)
            return x + 0.1, logdet

    flow = Flow(Turned(2), bases.Uniform(2, -math.pi, math.pi))
    assert ROUND in failed(checked(flow, 6.0 * torch.rand(50, 2)))


# ---------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("wrong", [0.0, -math.log(2.0), math.log(2.0) + 1e-3])
def test_a_wrong_logdet_is_found(wrong):
    report = checked(broken(Doubling(2, logdet=wrong)))
    assert not report.passed
    assert failed(report) == {LOGDET} | ({INTEGRAL} if wrong <= 0.0 else set())
    found = finding(report, LOGDET)
    assert found.value == pytest.approx(2.0 * abs(wrong - math.log(2.0)), rel=1e-6)
    assert found.value > found.limit
    assert found.where.startswith("row ")


@pytest.mark.parametrize("off", [1e-4, 0.5])
def test_an_inverse_that_is_off_is_found(off):
    report = checked(broken(Doubling(2, inverse=1.0 + off)))
    assert {ROUND, BACK} <= failed(report)
    assert not {LOGDET, INTEGRAL} & failed(report)


def test_the_worst_row_is_named():
    class OneRow(Doubling):
        def _inverse(self, z, context):
            x, logdet = super()._inverse(z, context)
            return torch.where((x > 90.0).any(-1, keepdim=True), x + 1.0, x), logdet

    x = torch.zeros(50, 2, dtype=torch.float64)
    x[:, 0] = torch.linspace(-1.0, 1.0, 50)
    x[17] = 100.0
    report = checked(broken(OneRow(2)), x)
    assert finding(report, ROUND).where == "row 17"
    assert finding(report, ROUND).value == pytest.approx(1.0 / 101.0)


def test_gradients_that_leak_are_found_outside_the_box():
    x = 4.0 * torch.rand(64, 2, dtype=torch.float64) - 2.0
    report = checked(broken(Boxed(2)), x)
    assert finding(report, NEAR).passed
    assert not finding(report, FAR).passed
    assert finding(report, FAR).value > 0


def test_a_density_that_does_not_integrate_to_one_is_found():
    for features in (1, 2):
        report = checked(Flow(T.Diagonal(features), Halved(features)).double())
        assert failed(report) == {INTEGRAL}
        assert finding(report, INTEGRAL).value == pytest.approx(0.5, abs=0.01)


def test_a_density_that_differs_from_that_of_its_samples_is_found():
    class Careless(Doubling):
        def _inverse(self, z, context):
            x, logdet = super()._inverse(z, context)
            return x, logdet + 0.01

    assert failed(checked(broken(Careless(2)))) == {PAIRS}


def test_what_does_not_survive_saving_is_found():
    flow = broken(Dropped(2))
    assert checked(flow).passed
    flow.transform.by = 0.25
    assert failed(checked(flow)) == {SAVED}


def test_what_cannot_be_saved_is_found_with_the_reason():
    flow = flows.realnvp(2, layers=2, hidden=(4,), seed=0)
    flow.register_buffer("extra", torch.zeros(1))
    report = checked(flow)
    assert failed(report) == {SAVED}
    assert "extra" in finding(report, SAVED).where


def test_values_that_are_no_numbers_are_found():
    class Lost(Doubling):
        def _forward(self, x, context):
            z, logdet = super()._forward(x, context)
            return z * math.nan, logdet

    report = checked(broken(Lost(2)))
    assert {ROUND, NEAR} <= failed(report)
    assert finding(report, ROUND).value == math.inf


# ---------------------------------------------------------------------- the flow stays as it was


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_left_as_it_was(training):
    flow = flows.realnvp(2, layers=2, hidden=(4,), seed=0).train(training)
    frozen = next(m for m in flow.modules() if isinstance(m, torch.nn.Linear))
    frozen.train(not training)
    before = [module.training for module in flow.modules()]
    checked(flow)
    assert [module.training for module in flow.modules()] == before


def test_the_mode_is_left_as_it_was_after_an_error():
    class Raising(Doubling):
        def _inverse(self, z, context):
            raise ValueError("no way back")

    flow = broken(Raising(2)).train()
    with pytest.raises(ValueError, match="no way back"):
        checked(flow)
    assert flow.training


def test_weights_gradients_and_random_state_are_left_alone():
    flow = flows.maf(2, layers=2, hidden=(4,), seed=0)
    weights = {name: value.clone() for name, value in flow.state_dict().items()}
    state = torch.get_rng_state()
    checked(flow)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in flow.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in flow.state_dict().items())


def test_the_same_seed_finds_the_same():
    flow = flows.maf(2, layers=2, hidden=(4,), seed=0)
    assert checked(flow, seed=3).findings == checked(flow, seed=3).findings
    assert checked(flow, seed=3).findings != checked(flow, seed=4).findings


# ---------------------------------------------------------------------- what may be given


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_any_number_of_rows_will_do(rows):
    assert checked(flows.nice(2, layers=2, hidden=(4,), seed=0), torch.randn(rows, 2)).passed


def test_no_rows_are_refused():
    with pytest.raises(ArgumentError, match=r"pf\.check: x holds no rows"):
        checked(flows.nice(2, layers=2, hidden=(4,), seed=0), torch.zeros(0, 2))


@pytest.mark.parametrize(
    ("context", "x", "given"),
    [
        (0, torch.randn(300, 3), None),
        (0, torch.randn(5, 3), None),
        (0, torch.randn(4), None),
        (0, torch.tensor(1.0), None),
        (0, torch.randn(5, 2), torch.randn(5, 1)),
        (1, torch.randn(5, 2), None),
        (1, torch.randn(5, 2), 0.5),
        (1, torch.randn(5, 2), torch.randn(5, 2)),
        (1, torch.randn(5, 2), torch.randn(6, 1)),
        (1, torch.randn(6, 3), torch.randn(9, 1)),
        (1, torch.randn(2), torch.randn(9, 1)),
    ],
)
def test_what_log_prob_does_not_take_is_refused_in_its_words(context, x, given):
    flow = flows.nice(2, context, layers=2, hidden=(4,), seed=0)
    with pytest.raises((ContextError, ShapeError)) as wanted:
        flow.log_prob(x, given)
    with pytest.raises(type(wanted.value)) as caught:
        checked(flow, x, given)
    assert str(caught.value) == str(wanted.value)


def test_a_context_that_is_no_vector_is_refused_without_rows_too():
    flow = flows.nice(2, 1, layers=2, hidden=(4,), seed=0)
    with pytest.raises(ShapeError, match=r"context has shape \(\), expected"):
        checked(flow, context=0.5)
    with pytest.raises(ContextError, match="needs a context"):
        checked(flow)


def test_rows_and_contexts_are_paired_as_in_log_prob():
    seen = []

    class Seeing(Doubling):
        context = 1

        def _forward(self, x, context):
            seen.append((x.detach(), context.detach()))
            return super()._forward(x, context)

        def _inverse(self, z, context):
            return super()._inverse(z, context)

    x = torch.arange(12, dtype=torch.float64).reshape(3, 4, 1).expand(3, 4, 2)
    assert checked(broken(Seeing(2)), x, torch.arange(3)[:, None, None]).passed
    rows, contexts = seen[0]
    assert torch.equal(contexts, (rows[:, :1] / 4).floor())
    assert len(rows) == 12
    assert checked(broken(Seeing(2)), None, torch.zeros(3, 4, 1)).passed


def test_rows_may_be_a_list_or_a_frame():
    flow = flows.nice(2, layers=2, hidden=(4,), seed=0)
    assert checked(flow, [0.0, 1.0]).passed
    assert checked(flow, torch.randn(2, 5, 2)).passed
    assert checked(flow, [[0.0, 1.0], [2.0, 3.0]]).passed
    assert checked(flow, pl.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 5.0, 2.0]})).passed


def test_contexts_may_be_a_frame():
    flow = flows.nice(2, 1, layers=2, hidden=(4,), seed=0)
    assert checked(flow, context=pl.DataFrame({"c": [0.0, 1.0, 2.0]})).passed


def test_a_flow_without_weights_is_checked_too():
    for base in (bases.Normal(2), bases.Uniform(2)):
        report = checked(Flow(T.Reverse(2), base))
        assert report.passed, str(report)


def test_a_bounded_support_passes():
    flow = Flow(T.Diagonal(2), bases.Uniform(2, low=-1.0, high=2.0))
    report = checked(flow)
    assert report.passed, str(report)


@pytest.mark.parametrize("wrong", [torch.nn.Linear(2, 2), T.Diagonal(2), None, "nsf"])
def test_what_is_no_flow_is_refused(wrong):
    with pytest.raises(InputTypeError, match=r"pf\.check: got a \w+, expected a Flow"):
        pf.check(wrong)


# ---------------------------------------------------------------------- the report


def test_the_report_is_printed_as_a_table(capsys):
    report = pf.check(broken(Doubling(2, logdet=0.0)))
    said = capsys.readouterr().out
    assert said == f"{report}\n"
    lines = said.splitlines()
    assert lines[0].split() == ["law", "found", "allowed", "where"]
    assert len(lines) == 1 + len(report.findings)
    column = lines[0].index("found")
    assert all(line[column - 1] == " " for line in lines)
    assert next(line for line in lines if LOGDET in line).split()[3] == "FAIL"
    assert sum("FAIL" in line for line in lines) == len(failed(report))


def test_nothing_is_printed_when_it_is_not_wanted(capsys):
    checked(broken(Doubling(2)))
    assert capsys.readouterr().out == ""


def test_the_report_as_a_frame():
    report = checked(broken(Doubling(3), 3))
    frame = report.to_frame()
    assert frame.columns == ["law", "passed", "value", "limit", "where"]
    assert frame["law"].to_list() == [found.law for found in report.findings]
    assert frame["passed"].to_list() == [found.passed for found in report.findings]
    assert frame["passed"].dtype == pl.Boolean
