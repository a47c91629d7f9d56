from calm.training.fit import train
from tests.training.toy import ToyData, toy_config, toy_root


def test_the_newest_numbered_checkpoints_stay_beside_the_last(tmp_path):
    config = toy_config(tmp_path, max_steps=9, save_every_steps=2, num_kept_checkpoints=2)
    train(toy_root(), ToyData(), config=config, progress=False)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["last.ckpt", "step-00000006.ckpt", "step-00000008.ckpt"]


def test_without_numbered_checkpoints_only_the_last_is_kept(tmp_path):
    config = toy_config(tmp_path, max_steps=4, save_every_steps=2, num_kept_checkpoints=0)
    train(toy_root(), ToyData(), config=config, progress=False)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_what_a_kill_left_of_an_unfinished_checkpoint_is_removed_at_the_next_start(tmp_path):
    left = tmp_path / "checkpoints" / ".last.ckpt.0123.part"
    left.parent.mkdir()
    left.write_bytes(b"half a checkpoint")
    train(toy_root(), ToyData(), config=toy_config(tmp_path, max_steps=2), progress=False)
    assert [path.name for path in left.parent.iterdir()] == ["last.ckpt"]
