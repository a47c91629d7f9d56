import pytest
import torch

from calm.errors import InputError
from calm.metrics import LossByTask


def test_values_are_means_over_all_frames_however_they_fall_into_batches():
    generator = torch.Generator().manual_seed(0)
    totals = torch.rand(5, 3, 4, generator=generator)
    counts = torch.randint(1, 9, (5, 3, 4), generator=generator)
    metric = LossByTask(num_bins=4)
    for total, count in zip(totals, counts, strict=True):
        metric.update(total, count)
    values = metric.compute()
    assert float(values["sound"]) == pytest.approx(float(totals[:, 1].sum() / counts[:, 1].sum()))
    assert float(values["music/t3"]) == pytest.approx(float(totals[:, 2, 3].sum() / counts[:, 2, 3].sum()))


def test_what_was_never_seen_has_no_value():
    metric = LossByTask(num_bins=2)
    metric.update(torch.tensor([[1.0, 0.0], [0, 0], [0, 0]]), torch.tensor([[2.0, 0.0], [0, 0], [0, 0]]))
    assert {name: float(value) for name, value in metric.compute().items()} == {"speech": 0.5, "speech/t0": 0.5}


def test_counts_beyond_float32_stay_exact():
    metric = LossByTask(num_bins=1)
    metric.update(torch.zeros(3, 1), torch.full((3, 1), 2.0**24))
    metric.update(torch.zeros(3, 1), torch.ones(3, 1))
    assert metric.count[0, 0].item() == 2**24 + 1


def test_another_number_of_bins_is_refused():
    with pytest.raises(InputError, match=r"\(3, 5\)"):
        LossByTask(num_bins=4).update(torch.zeros(3, 5), torch.zeros(3, 5))
