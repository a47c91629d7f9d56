import pytest

from calm.errors import ConfigError
from calm.model.generator import GeneratorConfig

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("block_sizes", ((), (0,), (4, 17), (4, NAN))),
        ("num_history_blocks", (-1, NAN)),
        ("num_noisy_copies", (0, -1, NAN)),
        *[(f"drop_{what}", (-0.1, 1.1, NAN)) for what in ("all", "text", "reference")],
        *[(f"history_noise_{what}", (-0.1, 1.1, NAN)) for what in ("probability", "level")],
        ("stop_weight", (-0.1, INF, NAN)),
        ("stop_positive_weight", (0.0, -1.0, INF, NAN)),
    ],
)
def test_impossible_generator_settings_are_refused(key, values):
    for value in values:
        with pytest.raises(ConfigError, match=rf"model\.{key}\n  allowed: "):
            GeneratorConfig(**{key: value})


def test_shares_of_dropped_conditions_may_fill_the_whole_but_no_more():
    GeneratorConfig(drop_all=0.7, drop_text=0.2, drop_reference=0.1)
    with pytest.raises(ConfigError, match=r"model\.drop_all, model\.drop_text, model\.drop_reference"):
        GeneratorConfig(drop_all=0.5, drop_text=0.5, drop_reference=0.1)


def test_block_sizes_are_stored_as_a_tuple():
    assert GeneratorConfig(block_sizes=[1, 16]).block_sizes == (1, 16)


def test_settings_at_the_edge_of_what_is_allowed_are_taken():
    GeneratorConfig(drop_all=1.0, drop_text=0.0, drop_reference=0.0, history_noise_probability=1.0, stop_weight=0.0)
    GeneratorConfig(history_noise_probability=0.0, history_noise_level=1.0)
