"""A training that is killed at random times becomes the one that never was. Long form: python -m tests.faults.kill."""

import pytest

from tests.faults.kill import kill_and_resume
from tests.faults.tiny import KEYS, differences, trained_on


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    return folder, kill_and_resume(folder, kills=5)


def test_five_kills_at_random_times_change_no_bit_of_weights_moments_losses_and_clips(killed):
    _, report = killed
    assert report.kills == 5 and report.trainings >= 1
    assert report.differences == []


def test_the_comparison_sees_a_lost_clip_and_a_changed_weight(killed):
    folder, _ = killed
    other = folder / "warm-up"
    assert differences(folder / "straight", other) == []
    lines = (other / KEYS).read_text().splitlines()
    (other / KEYS).write_text("\n".join([*lines[:4], f"{lines[4]}x", *lines[5:]]) + "\n")
    assert differences(folder / "straight", other) == [KEYS]
    (other / KEYS).write_text("\n".join([*lines[:4], *lines[5:]]) + "\n")
    with pytest.raises(AssertionError, match="batch 4 after 3"):
        trained_on(other)
    (other / "export/model.safetensors").write_bytes((folder / "vae/export/model.safetensors").read_bytes())
    (other / KEYS).write_text("\n".join(lines) + "\n")
    assert any(name.startswith("export") for name in differences(folder / "straight", other))
