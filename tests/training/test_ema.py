import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from calm.part import Part
from calm.training.checkpoint_io import read_checkpoint
from calm.training.ema import EMA, averaged_parameters, decay_at
from calm.training.fit import train
from tests.training.toy import ToyData, toy_config, toy_root


@given(n=st.integers(0, 10**7), limit=st.floats(0, 0.99999))
def test_the_decay_grows_to_its_limit(n, limit):
    assert decay_at(n, limit=limit) <= decay_at(n + 1, limit=limit) <= limit
    assert decay_at(0, limit=0.9999) == 0.1


class Spy(Callback):
    """Recomputes the average from the definition, and looks at what validation sees."""

    def __init__(self):
        self.average, self.validated, self.raw = None, [], []

    def on_fit_start(self, trainer, pl_module):
        self.average = pl_module.head[2].weight.detach().clone()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        n = trainer.global_step - 1
        decay = min(0.9999, (1 + n) / (10 + n))
        self.average = decay * self.average + (1 - decay) * pl_module.head[2].weight.detach()
        self.raw.append(pl_module.head[2].weight.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.validated.append((pl_module.head[2].weight.detach().clone(), self.average.clone()))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.raw:
            assert torch.equal(pl_module.head[2].weight, self.raw[-1]), "validation left the averaged weights behind"


def test_the_average_is_the_definition_and_validation_and_export_see_it(tmp_path):
    spy = Spy()
    config = toy_config(tmp_path, max_steps=8, val_every_steps=3)
    result = train(toy_root(), ToyData(), config=config, progress=False, callbacks=[spy])
    assert len(spy.validated) == 4  # two validations of two batches
    for seen, expected in spy.validated:
        torch.testing.assert_close(seen, expected)
    exported = load_file(result.export / "model.safetensors")
    torch.testing.assert_close(exported["head.2.weight"], spy.average)
    raw = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]["head.2.weight"]
    assert torch.equal(raw, spy.raw[-1])
    assert not torch.allclose(raw, exported["head.2.weight"])


def test_only_trained_parameters_are_averaged():
    assert not any(name.startswith("frozen") for name in averaged_parameters(toy_root()))

    class Stage(Part):
        def __init__(self):
            super().__init__()
            self.vae, self.adversary = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

        def param_groups(self):
            return [{"part": part, "params": list(getattr(self, part).parameters())} for part in ("vae", "adversary")]

    assert set(averaged_parameters(Stage())) == {"vae.weight", "vae.bias"}


def test_leaving_the_averaged_weights_restores_the_raw_ones_to_the_bit_also_after_an_error():
    root, ema = toy_root(), EMA(0.9)
    ema.shadow = {name: torch.zeros_like(p) for name, p in averaged_parameters(root).items()}
    before = {name: p.detach().clone() for name, p in root.named_parameters()}
    with pytest.raises(ZeroDivisionError), ema.averaged(root):
        assert not root.head[2].weight.any()
        raise ZeroDivisionError
    assert all(torch.equal(p, before[name]) for name, p in root.named_parameters())
