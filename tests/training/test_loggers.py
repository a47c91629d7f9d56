import dataclasses

import pytest

from calm.training.config import LoggerConfig
from calm.training.fit import train
from tests.training.toy import ToyData, toy_config, toy_root


@pytest.mark.parametrize(("name", "trace"), [("tensorboard", "tensorboard/events.*"), ("wandb", "wandb/offline-run-*")])
def test_the_chosen_logger_writes_below_the_run_folder_without_a_network(tmp_path, monkeypatch, name, trace):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = dataclasses.replace(toy_config(tmp_path, max_steps=2), logger=LoggerConfig(name=name))
    train(toy_root(), ToyData(), config=config, progress=False)
    assert list(tmp_path.glob(trace))
    assert (tmp_path / "history.csv").is_file()
