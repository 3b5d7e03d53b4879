"""Couplings: what they keep, events of any shape, and a map of what is kept."""

import pytest
import torch
from tests.transforms.cases import scatter
from torch import nn
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError, InputTypeError, ShapeError
from pushforward.transforms.coupling import keeps

EVENTS = [1, 2, 7, (3,), (2, 3), (3, 4, 5)]


def drawn(transform):
    scatter(transform.double(), 0.4)
    return transform


def rows(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("event", EVENTS, ids=str)
@pytest.mark.parametrize(
    "keep", [keeps.half, keeps.alternating, lambda event: keeps.random(event, seed=5)]
)
def test_half_of_the_numbers_stay(event, keep):
    flags = keep(event)
    assert flags.dtype == torch.bool
    assert flags.shape == ((event,) if isinstance(event, int) else event)
    assert int(flags.sum()) == flags.numel() // 2


def test_the_first_half_and_every_other_number():
    assert keeps.half((2, 3)).tolist() == [[True, True, True], [False, False, False]]
    assert keeps.alternating((2, 3)).tolist() == [[False, True, False], [True, False, True]]


def test_a_random_half_is_chosen_by_its_seed_alone():
    before = torch.get_rng_state()
    first, again, other = (keeps.random(40, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_checkerboard_keeps_the_odd_fields_of_every_channel():
    board = keeps.checkerboard((2, 3, 4))
    for c in range(2):
        for i in range(3):
            for j in range(4):
                assert bool(board[c, i, j]) is ((i + j) % 2 == 1)


def test_channels_stay_or_move_as_a_whole():
    flags = keeps.channels((5, 2, 3))
    assert flags.shape == (5, 2, 3)
    assert flags.flatten(1).all(1).tolist() == [True, True, False, False, False]
    assert flags.flatten(1).any(1).tolist() == [True, True, False, False, False]


def test_events_that_cannot_be_kept_so_are_refused():
    with pytest.raises(ShapeError, match=r"event is \(4,\), expected \(C, H, W\); write altern"):
        keeps.checkerboard(4)
    with pytest.raises(ShapeError, match=r"event is \(1, 2, 2\), expected \(C, H, W\) of at least"):
        keeps.channels((1, 2, 2))
    with pytest.raises(ShapeError, match=r"half: events of shape \(0,\) cannot be"):
        keeps.half((0,))
    with pytest.raises(ShapeError, match=r"Coupling: events of shape \(3, -1\) cannot be"):
        T.Coupling((3, -1), map=maps.Affine())


@pytest.mark.parametrize(
    ("features", "keep", "says"),
    [
        (3, [False] * 3, "keeps none of 3 features, expected at least one of them True; write Ele"),
        (1, [True], "keeps all of 1 features, expected at least one of them False"),
        ((2, 2), [[True, True], [False]], r"expected booleans of shape \(2, 2\), True for what"),
        ((2, 2), [True, False], r"expected booleans of shape \(2, 2\), True for what stays"),
        (2, torch.ones(3, dtype=torch.bool), r"\(3,\) of torch.bool, expected booleans of shape"),
        (2, "no", "keep is 'no', expected booleans"),
    ],
    ids=str,
)
def test_keeps_that_cannot_be_are_refused(features, keep, says):
    with pytest.raises(ArgumentError, match=says):
        T.Coupling(features, map=maps.Affine(), keep=keep)


def test_a_single_feature_moves_by_itself():
    step = drawn(T.Coupling(1, map=maps.Affine(), kept_map=maps.Affine(), keep=[False]))
    assert step.kept_step is None
    assert bool((step(rows(4, 1))[0] != 0).all())


@pytest.mark.parametrize("keep", [keeps.checkerboard, keeps.channels, keeps.half])
def test_an_image_is_coupled_as_the_vector_of_its_numbers(keep):
    event = (2, 3, 4)
    image = drawn(T.Coupling(event, map=maps.Affine(), keep=keep(event), hidden=(8,)))
    vector = drawn(T.Coupling(24, map=maps.Affine(), keep=keep(event).flatten(), hidden=(8,)))
    x = rows(5, *event)
    for way in ("forward", "inverse"):
        z, logdet = getattr(image, way)(x)
        want, want_logdet = getattr(vector, way)(x.flatten(1))
        assert_close(z.flatten(1), want, atol=0, rtol=0)
        assert_close(logdet, want_logdet, atol=0, rtol=0)
    assert torch.equal((image(x)[0] == x).all(0), keep(event))


@pytest.mark.parametrize("context", [0, 2])
def test_a_map_of_what_is_kept_does_not_change_what_the_network_sees(context):
    plain, both = (
        drawn(T.Coupling(5, map=maps.Affine(), hidden=(8,), context=context, kept_map=kept_map))
        for kept_map in (None, maps.Affine(bound=1.0))
    )
    both.network = plain.network
    x, c = rows(6, 5), rows(6, context) if context else None
    z, logdet = both(x, c)
    without, part = plain(x, c)
    # one of the two runs in one kernel, which adds up in another order
    assert_close(z[:, 2:], without[:, 2:], atol=1e-14, rtol=0)
    # the kept features go through a map of their own, with parameters trained or of the context
    step = both.kept_step
    raw = step.raw if c is None else step.network(4.0 * torch.asinh(c / 4.0)).reshape(6, 2, 2)
    scale = torch.tanh(raw[..., 0]).expand(6, 2)
    assert_close(z[:, :2], x[:, :2] * scale.exp() + raw[..., 1], atol=1e-14, rtol=0)
    assert_close(logdet, part + scale.sum(-1), atol=1e-14, rtol=0)
    assert_close(both.inverse(z, c)[0], x, atol=1e-13, rtol=0)


def test_both_maps_read_their_boxes_off_what_they_move():
    x = rows(1000, 3) * torch.tensor([100.0, 1.0, 10.0])
    step = T.Coupling(
        3,
        map=maps.RationalQuadratic(),
        kept_map=maps.RationalQuadratic(),
        keep=[True, False, True],
    ).fit(x.float())
    for column, half in ((0, step.kept_step.map.high[0]), (1, step.map.high[0])):
        assert 0.8 < float(half) / float(x[:, column].abs().max()) < 1.2
    assert 0.8 < float(step.kept_step.map.high[1]) / float(x[:, 2].abs().max()) < 1.2


def test_what_moves_depends_on_what_is_kept_of_an_image():
    event = (1, 2, 2)
    step = T.Coupling(event, map=maps.Affine(), keep=keeps.checkerboard(event))
    assert step.influence().tolist() == [
        [True, True, True, False],
        [False, True, False, False],
        [False, False, True, False],
        [False, True, True, True],
    ]


class Watching(torch.nn.Module):
    """Remembers the images it is shown, and gives numbers that say where they stand."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.channels, self.seen = (inputs, outputs), []

    def forward(self, image):
        self.seen.append(image)
        n, _, height, width = image.shape
        place = torch.arange(self.channels[1] * height * width, dtype=image.dtype)
        return 0.01 * place.reshape(1, -1, height, width).expand(n, -1, -1, -1)


def test_an_image_coupling_shows_an_image_and_takes_parameters_where_they_stand():
    event = (3, 2, 4)
    keep = keeps.random(event, seed=0)
    step = T.ImageCoupling(event, map=maps.Affine(), keep=keep, network=Watching, context=2)
    step = step.double()
    assert step.network.channels == (2 * 3 + 2, 2 * 3)
    x, c = rows(2, 5, *event), rows(5, 2)
    step(x, c)
    (seen,) = step.network.seen
    assert_close(seen[:, :3], (4.0 * torch.asinh(x / 4.0) * keep).flatten(0, 1), atol=0, rtol=0)
    assert_close(seen[:, 3:6], keep.double().expand(10, *event), atol=0, rtol=0)
    planes = (4.0 * torch.asinh(c / 4.0)).repeat(2, 1)[..., None, None].expand(10, 2, 2, 4)
    assert_close(seen[:, 6:], planes, atol=0, rtol=0)
    assert_close(step(x, c)[0], x, atol=0, rtol=0)  # the gain is zero

    step.gain.data = rows(6, 1, 1)
    z, logdet = step(x, c)
    given = step.network(seen) * step.gain  # channels 2 c and 2 c + 1 are of channel c
    scale = 3.0 * torch.tanh(given[0, 0::2] / 3.0)
    moved = x * scale.exp() + given[0, 1::2]
    assert_close(z, torch.where(keep, x, moved), atol=1e-14, rtol=0)
    assert_close(logdet, (scale * ~keep).sum().expand(2, 5), atol=1e-13, rtol=0)


@pytest.mark.parametrize("event", [4, (2, 2), (1, 1, 2, 2)], ids=str)
def test_an_image_coupling_of_what_is_no_image_is_refused(event):
    with pytest.raises(
        ShapeError, match=r"ImageCoupling: event is .*, expected \(C, H, W\); write"
    ):
        T.ImageCoupling(event, map=maps.Affine(), keep=keeps.half(event), network=Watching)


def test_an_image_flow_is_saved_with_what_it_keeps(tmp_path):
    event = (1, 2, 2)
    steps = [
        T.Coupling(event, map=maps.Affine(), keep=keep, hidden=(8,))
        for keep in (keeps.checkerboard(event), ~keeps.checkerboard(event))
    ]
    base = torch.distributions.Normal(torch.zeros(event), torch.ones(event))
    flow = Flow(T.Compose(*steps), base)
    scatter(flow, 0.4)
    pf.save(flow, tmp_path / "image.safetensors")
    again = pf.load(tmp_path / "image.safetensors")
    x = torch.randn(3, *event)
    assert_close(again.log_prob(x), flow.log_prob(x), atol=0, rtol=0)
    assert torch.equal(again.transform.transforms[1].kept, steps[1].kept)


def test_a_kept_map_makes_one_coupling_move_everything():
    """Of two lumps in what is kept, a plain coupling never gets hold."""
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    x[:, 0] = 0.3 * x[:, 0] + torch.where(x[:, 1] > 0, 2.0, -2.0)
    found = []
    for kept_map in (None, maps.RationalQuadratic()):
        torch.manual_seed(0)
        step = T.Coupling(2, map=maps.RationalQuadratic(), kept_map=kept_map, hidden=(8,))
        flow = Flow(step, bases.Normal(2))
        pf.fit(flow, x, steps=150, progress=False)
        with torch.no_grad():
            found.append(-float(flow.log_prob(x).mean()))
    assert found[1] < found[0] - 0.3


# ---------------------------------------------------------------- networks of one's own

KEEP = keeps.checkerboard((1, 4, 4))


def coupled(network, **more):
    return T.Coupling(3, map=maps.Affine(), network=network, **more)


def pictured(network):
    return T.ImageCoupling((1, 4, 4), map=maps.Affine(), keep=KEEP, network=network)


TAKE_NETWORKS = {
    "Coupling": coupled,
    "ImageCoupling": pictured,
    "Continuous": lambda network: T.Continuous(3, network=network),
    "Resampled": lambda network: bases.Resampled(bases.Normal(3), network),
}


@pytest.mark.parametrize("given", [5, nn.Linear(1, 4), "MLP"], ids=str)
@pytest.mark.parametrize("who", TAKE_NETWORKS)
def test_what_makes_no_network_is_refused(who, given):
    says = rf"{who}: network is a \w+, expected a function of \(inputs, outputs\) that gives a net"
    with pytest.raises(InputTypeError, match=says):
        TAKE_NETWORKS[who](given)


@pytest.mark.parametrize("who", TAKE_NETWORKS)
def test_what_a_network_is_made_of_gives_one(who):
    with pytest.raises(
        InputTypeError, match=rf"{who}: network\(\d, \d\) gives a int, expected a m"
    ):
        TAKE_NETWORKS[who](lambda inputs, outputs: outputs)


@pytest.mark.parametrize("who", ["Coupling", "Continuous", "Resampled"])
def test_a_network_of_another_width_is_named_with_both(who):
    part = TAKE_NETWORKS[who](lambda inputs, outputs: nn.Linear(inputs, outputs + 1))
    came, wanted = {"Coupling": (5, 4), "Continuous": (4, 3), "Resampled": (2, 1)}[who]
    says = rf"{who}: the network, Linear, gives shape \(\d+, {came}\), expected \(\d+, {wanted}\); "
    with pytest.raises(ShapeError, match=says):
        (part.log_prob if who == "Resampled" else part)(torch.zeros(5, 3))


def test_a_network_of_images_of_another_size_is_named():
    step = pictured(lambda inputs, outputs: nn.Conv2d(inputs, outputs, 3))
    with pytest.raises(
        ShapeError, match=r"Conv2d, gives shape \(5, 2, 2, 2\), expected \(5, 2, 4, 4\)"
    ):
        step(torch.zeros(5, 1, 4, 4))


def test_a_network_that_gives_no_tensor_is_named():
    with pytest.raises(
        InputTypeError, match="Coupling: the network, LSTM, gives a tuple, expected"
    ):
        coupled(nn.LSTM)(torch.zeros(5, 3))


def test_the_recipe_takes_another_network():
    flow = pf.flows.coupling(2, layers=2, network=nn.Linear)
    assert flow.log_prob(torch.zeros(5, 2)).shape == (5,)
    with pytest.raises(ArgumentError, match=r"hidden is .* beside a network"):
        pf.flows.coupling(2, network=nn.Linear, hidden=(8,))
