"""Training a flow that was trained before, and rows that do not count."""

import pytest
import torch

import pushforward as pf
from pushforward import maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError


def small(**options):
    return pf.flows.nsf(2, layers=2, hidden=(16,), seed=0, **options)


def test_training_goes_on_from_what_the_flow_is():
    x = torch.randn(400, 2)
    flow = small()
    pf.fit(flow, x, steps=60, progress=False)
    before = flow.log_prob(x).mean().item()
    pf.fit(flow, 0.5 * x + 3.0, steps=6, lr=1e-12, progress=False)  # rows on another scale
    assert flow.log_prob(x).mean().item() == pytest.approx(before, abs=1e-4)


def test_training_goes_on_after_saving(tmp_path):
    x = torch.randn(400, 2)
    flow = small()
    pf.fit(flow, x, steps=30, progress=False)
    again = pf.load(pf.save(flow, tmp_path / "flow.safetensors"))
    history = pf.fit(again, x + 1.0, steps=5, progress=False)
    assert torch.equal(again.transform.transforms[0].mean, flow.transform.transforms[0].mean)
    assert history.evaluations[0].validation_loss > 2.0


def test_rows_without_weight_have_no_part_in_the_scales():
    x = torch.cat((torch.randn(1000, 2), torch.full((100, 2), 1e4)))
    weights = torch.cat((torch.ones(1000), torch.zeros(100)))
    flow = small()
    history = pf.fit(flow, x, weights=weights, steps=8, progress=False)
    assert float(flow.transform.transforms[0].scale.max()) < 1.2
    assert history.evaluations[0].validation_loss < 3.2


def test_weights_have_their_part_in_the_scales():
    """A row of weight 3 counts as three rows, for scalings and boxes, too."""
    x = torch.randn(4000, 2).sort(0).values
    times = torch.arange(4000) // 1000  # the right side counts more: the mean moves by half a unit
    weighted, repeated = small(), small()
    for flow, rows, weights in (
        (weighted, x, times.float()),
        (repeated, x.repeat_interleave(times, 0), None),
    ):
        pf.fit(flow, rows, weights=weights, epochs=1, validation=0, progress=False)
    for name, value in repeated.named_buffers():
        assert torch.allclose(weighted.get_buffer(name).float(), value.float(), 0.03, 0.01), name


def test_a_column_that_varies_in_light_rows_only_has_a_scale():
    x = torch.randn(2000, 2)
    x[20:, 1] = 0.0
    weights = torch.ones(2000)
    weights[:20] = 1e-3
    flow = small()
    pf.fit(flow, x, weights=weights, steps=20, progress=False)
    assert float(flow.transform.transforms[0].scale[1]) > 0.0
    assert bool(flow.log_prob(x).isfinite().all())


def test_a_row_without_weight_may_lie_outside_the_support():
    flow = pf.Flow(T.Diagonal(1), pf.bases.Uniform(1, -3.0, 3.0))
    batch = pf.objectives.Batch(torch.tensor([[0.0], [9.0]]), None, torch.tensor([2.0, 0.0]))
    loss = pf.objectives.MaximumLikelihood()(flow, batch)
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(flow.transform.log_scale.grad.isfinite().all())


def test_a_run_is_not_resumed_with_a_flow_of_other_arguments(tmp_path):
    x = torch.randn(300, 2)

    def flow(bound):
        return pf.flows.coupling(2, map=maps.Affine(bound), layers=2, hidden=(8,), seed=0)

    pf.fit(flow(3.0), x, steps=4, checkpoint=tmp_path, progress=False)
    with pytest.raises(ArgumentError, match="had flow"):
        pf.fit(flow(0.1), x, steps=4, checkpoint=tmp_path, resume=True, progress=False)


@pytest.mark.parametrize("ending", ["whole", "broken"])
def test_the_callers_threads_come_back(ending):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen = []

    def look(event):
        seen.append(torch.get_num_threads())
        if ending == "broken":
            raise RuntimeError("broken")

    try:
        pf.fit(small(), torch.randn(100, 2), steps=6, progress=False, callbacks=[look])
    except RuntimeError:
        assert ending == "broken"
    finally:
        after = torch.get_num_threads()
        torch.set_num_threads(before)
    assert after == 2
    assert set(seen) == {1}  # a small flow is trained by one
