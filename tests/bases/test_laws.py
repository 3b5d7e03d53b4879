"""Laws every base keeps: it is a normalized density, and it draws from that density."""

import math

import pytest
import torch
from scipy import stats
from tests.bases.cases import CASES, mixture
from torch import distributions as D
from torch.testing import assert_close

import pushforward as pf
import pushforward.bases
from pushforward import bases
from pushforward import transforms as T
from pushforward.bases.wrapped import WrappedTransform
from pushforward.errors import ArgumentError, InputTypeError, ShapeError

ONES = torch.ones(2)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
widths = pytest.mark.parametrize("features", [1, 2, 7], ids=lambda n: f"D{n}")


def built(case, features, dtype=torch.float64):
    return case.build(features).to(dtype)


def drawn(base, *shape, seed=0):
    """Draws from a generator of their own."""
    return base.rsample(shape, generator=torch.Generator().manual_seed(seed)).detach()


def test_every_public_base_has_a_case():
    covered = {type(case.build(2)).__name__ for case in CASES}
    assert set(pushforward.bases.__all__) - {"Base", "as_base"} <= covered


@every_case
@widths
def test_the_density_is_the_one_torch_knows(case, features):
    base, same = built(case, features), case.same(features)
    z = drawn(base, 200)
    assert_close(base.log_prob(z), same.log_prob(z), atol=1e-6, rtol=1e-6)
    assert base.log_prob(z).shape == (200,)


@every_case
def test_the_density_integrates_to_one_on_a_line(case):
    base = built(case, 1)
    z = torch.linspace(-case.reach, case.reach, 400_001, dtype=torch.float64)
    mass = torch.trapezoid(base.log_prob(z[:, None]).detach().exp(), z)
    assert float(mass) == pytest.approx(1.0, abs=1e-5 + case.lost)


@every_case
def test_the_density_integrates_to_one_on_a_plane(case):
    base = built(case, 2)
    line = torch.linspace(-case.reach, case.reach, 1201, dtype=torch.float64)
    log_p = base.log_prob(torch.cartesian_prod(line, line)).detach()
    mass = log_p.exp().sum() * (line[1] - line[0]) ** 2
    crossed = case.name.endswith(("uniform", "shifted", "halves"))  # by cells: edges of a box
    edge = 2e-2 if crossed else 1e-3
    assert float(mass) == pytest.approx(1.0, abs=edge + 2 * case.lost)


@every_case
def test_draws_follow_the_density(case):
    """Kolmogorov-Smirnov on each feature against draws of torch, at one in a thousand."""
    torch.manual_seed(5)
    base, same = built(case, 2), case.same(2)
    ours, theirs = drawn(base, 4000), same.sample((4000,))
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.6, -0.8]]).double()
    for a, b in zip((ours @ directions.mT).T, (theirs @ directions.mT).T, strict=True):
        assert stats.ks_2samp(a.numpy(), b.numpy()).pvalue > 1e-3


@every_case
@widths
@pytest.mark.parametrize("n", [(), (3,), (2, 3), (0,)], ids=str)
def test_draws_have_the_shape_asked_for(case, features, n):
    base = built(case, features)
    z = base.rsample(n)
    assert z.shape == (*n, features)
    assert z.dtype == torch.float64
    assert base.log_prob(z).shape == n
    assert base.log_prob(z).dtype == torch.float64


@every_case
def test_a_number_of_draws_and_a_context_make_the_shape(case):
    """A base that reads no context still gives a draw for each: (*n, *context_batch, *event)."""
    base = built(case, 3)
    if case.name == "flow":
        pytest.skip("a flow refuses a context that it does not read")
    assert base.rsample(4).shape == (4, 3)
    assert base.rsample(4, torch.zeros(5, 2)).shape == (4, 5, 3)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_dtype_is_kept(case, dtype):
    base = built(case, 3, dtype)
    z = base.rsample(4)
    assert z.dtype == dtype
    assert base.log_prob(z).dtype == dtype


@every_case
def test_the_same_generator_gives_the_same_draws_and_the_global_state_is_left_alone(case):
    base = built(case, 2)
    before = torch.get_rng_state()
    assert_close(drawn(base, 50, seed=1), drawn(base, 50, seed=1), atol=0, rtol=0)
    assert not torch.equal(drawn(base, 50, seed=1), drawn(base, 50, seed=2))
    assert torch.equal(torch.get_rng_state(), before)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_points_have_a_density_and_a_gradient(case, dtype):
    base = built(case, 2, dtype)
    z = torch.tensor([[0.0, 0.0], [1e6, -1e6], [-1e6, 0.1], [1e-40, 0.0]], dtype=dtype)
    z.requires_grad_()
    log_p = base.log_prob(z)
    assert not bool(log_p.isnan().any())
    finite = log_p[log_p.isfinite()]
    weights = [p for p in base.parameters() if p.requires_grad]
    if finite.requires_grad:
        for gradient in torch.autograd.grad(finite.sum(), [z, *weights], allow_unused=True):
            assert gradient is None or bool(gradient.isfinite().all())


@every_case
def test_not_a_number_is_not_a_density(case):
    log_p = built(case, 2).log_prob(torch.tensor([[0.1, torch.nan], [0.1, 0.2]]).double())
    assert not bool(log_p[0].isfinite())
    assert bool(log_p[1].isfinite())


@every_case
def test_every_tensor_moves_with_the_module(case):
    base = built(case, 3)
    loose = [
        f"{name or 'self'}.{key}"
        for name, module in base.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    ]
    assert not loose


@every_case
def test_rows_do_not_see_each_other(case):
    base = built(case, 3)
    z = drawn(base, 2, 5)
    alone = torch.stack([base.log_prob(row) for row in z.reshape(10, 3)]).reshape(2, 5)
    assert_close(base.log_prob(z), alone, atol=1e-12, rtol=0)


@every_case
def test_draws_carry_gradients_where_the_density_has_weights(case):
    """Except to the shares of a mixture: the choice of a component is not differentiable."""
    base = built(case, 2)
    moved = dict(base.named_parameters())
    weights = {name: p for name, p in moved.items() if not name.startswith(case.still)}
    if weights:
        z = base.rsample(50, generator=torch.Generator().manual_seed(0))
        for gradient in torch.autograd.grad(z.sum(), list(weights.values())):
            assert bool(gradient.any())


def test_learned_parameters_learn():
    for base in (
        bases.Normal(2, learn=True),
        bases.StudentT(2),
        bases.Mixture(bases.Normal(2, -1.0, learn=True), bases.Normal(2, 2.0, learn=True)),
    ):
        weights = list(base.parameters())
        assert weights
        gradients = torch.autograd.grad(base.log_prob(torch.randn(50, 2)).sum(), weights)
        assert all(bool(g.any()) for g in gradients)


def test_fixed_parameters_stay_fixed():
    fixed = (bases.Normal(2), bases.Uniform(2), bases.StudentT(2, learn=False))
    assert not [p for base in fixed for p in base.parameters()]


def test_responsibilities_are_shares():
    base = mixture(2).double()
    shares = base.responsibilities(torch.tensor([[-3.0, -2.0], [2.0, 3.0]]).double()).detach()
    assert_close(shares.sum(-1), torch.ones(2).double(), atol=1e-12, rtol=0)
    assert float(shares[0, 0]) > 0.99
    assert float(shares[1, 1]) > 0.99


def test_a_distribution_has_no_density_outside_its_support():
    from torch.distributions import Exponential

    base = bases.as_base(Exponential(torch.ones(2)))
    z = torch.tensor([[1.0, 1.0], [-1.0, 1.0]]).requires_grad_()
    log_p = base.log_prob(z)
    assert log_p.tolist() == [-2.0, -math.inf]
    assert bool(torch.autograd.grad(log_p[0], z)[0].isfinite().all())


@pytest.mark.parametrize(
    ("build", "kind", "says"),
    [
        (lambda: bases.Normal(2, scale=0.0), ArgumentError, "scale is .*expected positive"),
        (
            lambda: bases.Normal(2, loc=torch.zeros(3)),
            ArgumentError,
            r"expected a number or \(2,\)",
        ),
        (lambda: bases.Normal(1, loc=math.nan), ArgumentError, "expected finite numbers"),
        (lambda: bases.Uniform(1, 1.0, 1.0), ArgumentError, "expected low < high"),
        (lambda: bases.StudentT(1, df=0.05), ArgumentError, "degrees of freedom above 0.1"),
        (lambda: bases.Mixture(), ArgumentError, "got no component"),
        (lambda: bases.Mixture(bases.Normal(1), bases.Normal(2)), ShapeError, "event shapes"),
        (
            lambda: bases.Mixture(bases.Normal(1), weights=[-1.0]),
            ArgumentError,
            "expected 1 positive numbers",
        ),
        *(
            (
                lambda weights=weights: bases.Mixture(*[bases.Normal(1)] * 2, weights=weights),
                ArgumentError,
                "Mixture: weights are .*, expected 2 positive numbers",
            )
            for weights in ([math.inf, 1.0], [[1.0, 1.0]] * 2, 1.0, ["a", "b"], torch.ones(3))
        ),
        (
            lambda: bases.Mixture([bases.Normal(2), bases.Normal(2)]),
            InputTypeError,
            r"Mixture: got a list, expected bases; write Mixture\(a, b\) rather than Mixture\(\[a,",
        ),
        (
            lambda: bases.Mixture(T.LU(2)),
            InputTypeError,
            "Mixture: got a LU, expected bases, or flows",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused(build, kind, says):
    with pytest.raises(kind, match=says):
        build()


def test_discrete_distributions_and_strangers_are_refused():
    from torch.distributions import Poisson

    with pytest.raises(ArgumentError, match="Poisson, which is discrete"):
        bases.as_base(Poisson(torch.ones(2)))
    with pytest.raises(InputTypeError, match="base is a str, expected a base, a Flow or a"):
        bases.as_base("normal")


@pytest.mark.parametrize(
    ("made", "outside"),
    [
        (D.TransformedDistribution(D.Exponential(ONES), [D.AffineTransform(1.0, 2.0)]), -3.0),
        (D.TransformedDistribution(D.Uniform(-ONES, ONES), [D.AffineTransform(0.0, 2.0)]), 2.5),
        (
            D.TransformedDistribution(
                D.Normal(0 * ONES, ONES), [D.ExpTransform(), D.AffineTransform(1.0, 1.0)]
            ),
            0.5,
        ),
        (D.TransformedDistribution(D.LogNormal(0 * ONES, ONES), D.AffineTransform(1.0, 1.0)), 1.0),
    ],
    ids=["exponential", "uniform", "exp", "log-normal"],
)
def test_a_transformed_distribution_is_zero_outside_what_it_can_reach(made, outside):
    base = bases.as_base(made)
    x = made.sample((6,))
    assert_close(base.log_prob(x), made.log_prob(x).sum(-1))
    mixed = torch.stack((x[0], torch.full((2,), outside), torch.tensor([float(x[0, 0]), outside])))
    assert base.log_prob(mixed).isfinite().tolist() == [True, False, False]
    assert base.log_prob(mixed)[1:].tolist() == [-torch.inf, -torch.inf]


def test_a_distribution_of_ones_own_is_not_taken_for_one_of_pytorch():
    class Normal(D.Normal):
        def log_prob(self, value):
            return super().log_prob(value) - 100.0

    with pytest.raises(ArgumentError, match="which is no class of torch"):
        bases.as_base(Normal(0 * ONES, ONES))


@pytest.mark.parametrize(
    "transforms",
    [[], [D.CatTransform([D.ExpTransform(), D.AffineTransform(0.0, 2.0)], -1, [1, 1])]],
)
def test_lists_of_transforms_are_saved(transforms, tmp_path):
    made = D.TransformedDistribution(D.Independent(D.Normal(0 * ONES, ONES), 1), transforms)
    flow = pf.Flow(pf.transforms.Diagonal(2), made)
    again = pf.load(pf.save(flow, tmp_path / "flow.safetensors"))
    x = made.sample((3,))
    assert torch.equal(again.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("name", ["kl_divergence", "_InverseTransform", ["x"], None])
def test_only_transforms_of_pytorch_can_be_named(name):
    with pytest.raises(ArgumentError, match="is no class of"):
        WrappedTransform(name, {})
