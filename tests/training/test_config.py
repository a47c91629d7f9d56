import pytest

from calm.config import load_config
from calm.errors import ConfigError
from calm.training.config import CurriculumConfig, OptimConfig, Phase, TrainerConfig

INF, NAN = float("inf"), float("nan")


def test_the_shipped_files_of_every_group_load():
    for group, option in [
        *[("curriculum", name) for name in ("default", "no_expert", "two_stage", "demo")],
        *[("optim", name) for name in ("default", "demo")],
        *[("trainer", name) for name in ("default", "cpu", "demo", "ddp", "fsdp", "finetune")],
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
        ([Phase(task_weights={"speech": NAN})], "task weights"),
        ([Phase(expert="maybe")], "expert is 'maybe'"),
        ([Phase(lr_factors={"backbone": -1.0})], "factor is -1"),
        ([Phase(lr_factors={"backbone": NAN})], "factor is nan"),
    ],
)
def test_wrong_phases_are_refused_with_the_key(phases, message):
    with pytest.raises(ConfigError, match=message) as caught:
        CurriculumConfig(phases=phases)
    assert "curriculum.phases" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("learning_rate", (0.0, -1.0, INF, NAN)),
        ("weight_decay", (-0.1, INF, NAN)),
        ("betas", ((1.0, 0.9), (0.9, -0.1), (0.9, NAN), (0.9,))),
        ("warmup_steps", (-1, NAN)),
        ("min_lr_ratio", (-0.1, 1.1, NAN)),
        ("max_grad_norm", (0.0, -1.0, NAN)),
        ("ema_decay", (-0.1, 1.0, NAN)),
        ("lr_factors", ({"head": -1.0}, {"head": 1.0, "backbone": INF}, {"head": NAN})),
    ],
)
def test_impossible_optimizer_settings_are_refused(key, values):
    for value in values:
        with pytest.raises(ConfigError, match=rf"optim\.{key}.*\n  allowed: "):
            OptimConfig(**{key: value})


@pytest.mark.parametrize(
    ("key", "values"),
    [
        *[(key, (0, -1, NAN)) for key in ("max_steps", "save_every_steps", "grad_accum_steps", "num_nodes")],
        *[(key, (0, -1, NAN)) for key in ("log_every_steps", "num_noise_bins", "num_threads", "num_statistics_batches")],
        *[(key, (-1, NAN)) for key in ("val_every_steps", "num_kept_checkpoints")],
        *[(key, (0.0, -1.0, INF, NAN)) for key in ("max_minutes", "sample_seconds")],
        ("prompts", ({"song": ["la"]},)),
    ],
)
def test_impossible_trainer_settings_are_refused(key, values):
    for value in values:
        with pytest.raises(ConfigError, match=rf"trainer\.{key}\n  allowed: "):
            TrainerConfig(**{key: value})


def test_settings_at_the_edge_of_what_is_allowed_are_taken():
    OptimConfig(weight_decay=0.0, betas=(0.0, 0.0), min_lr_ratio=1.0, ema_decay=0.0, lr_factors={"backbone": 0.0})
    TrainerConfig(val_every_steps=0, num_kept_checkpoints=0, num_noise_bins=1, num_threads=None, max_minutes=None)
