import io

from rich.console import Console

from calm.training.fit import train
from calm.training.history import History, read_history
from calm.training.progress import ProgressLine
from tests.training.toy import ToyData, toy_batch, toy_config, toy_root


def values(path, name):
    return {step: value for step, _, key, value in read_history(path) if key == name}


def test_losses_per_task_phase_and_rates_are_in_the_history(tmp_path):
    config = toy_config(tmp_path, max_steps=6, val_every_steps=3)
    train(toy_root(), ToyData(), config=config, progress=False)
    path = tmp_path / "history.csv"
    assert values(path, "phase") == {1: 0, 2: 0, 3: 0, 4: 0, 5: 1, 6: 1}
    for task in ("speech", "sound", "music"):
        assert set(values(path, f"train/flow_{task}")) == {1, 2, 3, 4, 5, 6}
        assert set(values(path, f"val/flow/{task}")) == {3, 6}
        assert set(values(path, f"val/flow/{task}/t0")) == {3, 6}
    assert values(path, "lr/expert")[4] == 0 < values(path, "lr/expert")[5]
    assert values(path, "lr/head")[1] < values(path, "lr/head")[3]


def test_a_task_that_is_not_in_a_batch_has_no_value_at_that_step(tmp_path):
    data = ToyData(lambda step: toy_batch(step, tasks=(0, 1) if step % 2 else (1, 2)))
    train(toy_root(), data, config=toy_config(tmp_path, max_steps=4), progress=False)
    assert set(values(tmp_path / "history.csv", "train/flow_speech")) == {2, 4}
    assert set(values(tmp_path / "history.csv", "train/flow_sound")) == {1, 2, 3, 4}


def test_rewinding_drops_later_steps_and_lines_cut_short(tmp_path):
    history = History(tmp_path / "history.csv")
    history.rewind(0)
    for step in range(3):
        history.log_metrics({"train/loss": 1.0 + step, "epoch": 0}, step=step)
    with open(history.path, "a") as file:
        file.write("4,1.0,train/lo")
    history.rewind(2)
    assert [(step, name, value) for step, _, name, value in read_history(history.path)] == [
        (1, "train/loss", 1.0),
        (2, "train/loss", 2.0),
    ]
    history.rewind(0)
    assert read_history(history.path) == []


def test_the_progress_line_shows_phase_losses_and_validation(tmp_path):
    console = Console(record=True, width=200, force_terminal=True, file=io.StringIO())
    line = ProgressLine(max_steps=4, phases=["shared", "joint"], console=console)
    config = toy_config(tmp_path / "run", max_steps=4, val_every_steps=2)
    train(toy_root(), ToyData(), config=config, progress=False, callbacks=[line])
    text = console.export_text()
    assert "[shared]" in text
    assert "flow_speech" in text
    assert "step      2" in text and "flow/music" in text
    assert "run: starts at step 0 of 4" in text
    line = ProgressLine(max_steps=6, phases=["shared", "joint"], console=console)
    config = toy_config(tmp_path / "run", max_steps=6, val_every_steps=2, ckpt_path="last")
    train(toy_root(), ToyData(), config=config, progress=False, callbacks=[line])
    assert "run: goes on at step 4 of 6" in console.export_text()
