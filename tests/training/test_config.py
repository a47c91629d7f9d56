import pytest

from calm.config import load_config
from calm.errors import ConfigError
from calm.training.config import CurriculumConfig, OptimConfig, Phase, TrainerConfig


def test_the_shipped_files_of_every_group_load():
    for group, option in [
        *[("curriculum", name) for name in ("default", "no_expert", "two_stage", "demo")],
        *[("optim", name) for name in ("default", "demo")],
        *[("trainer", name) for name in ("default", "cpu", "demo")],
        *[("logger", name) for name in ("csv", "tensorboard", "wandb")],
    ]:
        config = load_config(["model=vae_stage", f"{group}={option}"])
        assert getattr(config, group).name == option


def test_a_bare_yaml_on_means_the_word_on():
    assert Phase(expert="True").expert == "on"
    assert Phase(expert="False").expert == "off"


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([], "at least one phase"),
        ([Phase(until_step=5)], "last phase"),
        ([Phase(), Phase()], "ends at step None"),
        ([Phase(until_step=5), Phase(until_step=5), Phase()], "ends at step 5"),
        ([Phase(until_step=0), Phase()], "ends at step 0"),
        ([Phase(task_weights={"speach": 1.0})], "Did you mean 'speech'"),
        ([Phase(task_weights={"speech": 0.0})], "task weights"),
        ([Phase(task_weights={"speech": -1.0, "sound": 2.0})], "task weights"),
        ([Phase(expert="maybe")], "expert is 'maybe'"),
        ([Phase(lr_factors={"backbone": -1.0})], "factor is -1"),
    ],
)
def test_wrong_phases_are_refused_with_the_key(phases, message):
    with pytest.raises(ConfigError, match=message) as caught:
        CurriculumConfig(phases=phases)
    assert "curriculum.phases" in str(caught.value)


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"ema_decay": 1.0}, {"warmup_steps": -1}])
def test_impossible_optimizer_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        OptimConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"max_steps": 0}, {"max_minutes": 0.0}, {"prompts": {"song": ["la"]}}])
def test_impossible_trainer_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"trainer.{next(iter(wrong))}"):
        TrainerConfig(**wrong)
