"""The pretrained codec: loading, freezing, and the import hook that it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from calm.errors import CheckpointError
from calm.registry import build
from calm.vae.encodec import FILE, _codec


def codec(**options):
    torch.manual_seed(0)
    return build("vae", {"name": "encodec", "weights": "random"} | options)


@pytest.fixture
def checkpoint():
    """A checkpoint with the names and shapes of the published one."""
    torch.manual_seed(7)
    return _codec().state_dict()


def test_weights_are_loaded_from_a_file(tmp_path, checkpoint):
    path = tmp_path / "mine.th"
    torch.save(checkpoint, path)
    vae = codec(weights=str(path))
    for name, value in vae.encoder.state_dict().items():
        assert torch.equal(value, checkpoint[f"encoder.{name}"])


def test_a_file_with_the_published_name_must_have_the_published_checksum(tmp_path, checkpoint):
    torch.save(checkpoint, tmp_path / FILE)
    with pytest.raises(CheckpointError, match="damaged"):
        codec(weights=str(tmp_path))


def test_a_missing_file_says_which_file_goes_where(tmp_path):
    with pytest.raises(CheckpointError, match=FILE) as caught:
        codec(weights=str(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_without_a_network_the_error_says_which_file_goes_where(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(CheckpointError, match=f"put {FILE} into"):
        codec(weights="hub")


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "bad.th"
    torch.save({"x": Attack()}, path)
    with pytest.raises(CheckpointError, match="weights only"):
        codec(weights=str(path))
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.th")
    with pytest.raises(CheckpointError, match=r"other\.th"):
        codec(weights=str(tmp_path / "other.th"))


def test_the_codec_is_frozen_and_stays_in_evaluation_mode():
    vae = codec().train()
    assert not any(p.requires_grad for p in vae.parameters())
    assert not any(m.training for m in vae.modules())
    assert list(vae.param_groups()) == []


def test_stacking_frames_changes_the_rate_and_not_the_audio():
    one, four = codec(patch=1), codec(patch=4)
    audio = 0.1 * torch.randn(1, 1, 8 * four.hop // 4, generator=torch.Generator().manual_seed(1))
    a, b = one.encode(audio).mean, four.encode(audio).mean
    assert (a.shape[1], b.shape[1]) == (8, 2)
    assert torch.equal(a.flatten(), b.flatten())
    assert torch.equal(one.decode(a), four.decode(b))


def test_encodec_and_transformers_import_behind_the_hook():
    """In a fresh process, as the hook acts on the first import."""
    code = (
        "from calm._torchaudio import install; install(); install()\n"
        "import sys; assert sum(f.__name__ == '_Finder' for f in sys.meta_path if isinstance(f, type)) == 1\n"
        "import torchaudio, encodec.msstftd, torch\n"
        "assert torchaudio.transforms.Spectrogram()(torch.zeros(1, 800)).shape[1] == 201\n"
        "assert isinstance(torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE, bool)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
