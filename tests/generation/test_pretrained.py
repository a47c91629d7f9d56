"""Models by name and by folder: which one is found, what 16 bits keep, and a VAE that several models share."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch
from safetensors import safe_open

from calm.config import load_config, load_config_file
from calm.errors import CheckpointError, InputError
from calm.generation import AudioCALM
from calm.model.build import build_model, load_pretrained
from calm.model.checkpoint import load_config_of, load_into, save_pretrained
from calm.model.export import export, new_folder
from calm.model.shipped import default_model, find_model, shipped_models
from calm.model.trained_vae import load_vae
from calm.training.status import RunStatus, write_status

TINY = ["model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A trained VAE's run and a generator's run on it, as training leaves them (random weights)."""
    root = tmp_path_factory.mktemp("runs")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        stage = load_config(["model=vae_stage", "vae=tiny", "adversary=none", "name=first"])
        save_pretrained(root / "vae/export", model=build_model(stage), config=stage)
        config = load_config([*TINY, "name=second", f"vae_ckpt_path={root / 'vae'}", f"data.train={root / 'shards'}"])
        model = build_model(config)
        for parameter in model.parameters():  # zero-initialised layers would hide what rounding does
            parameter.data += 0.05 * torch.randn_like(parameter)
        load_into(model.vae, root / "vae", prefix="vae.")
        save_pretrained(root / "generator/export", model=model, config=config)
    return root


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """A folder of shipped models with `mini` on the shared `mini-vae`."""
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calm.model.shipped.SHIPPED", root)
        export(runs / "vae/export", root / "mini-vae", name="mini-vae")
        export(runs / "generator/export", root / "mini", name="mini", shared_vae="mini-vae")
    return root


@pytest.fixture
def shipped(tmp_path, monkeypatch, exported):
    """The folder of shipped models is a copy of ``exported``, for a test to change; the working directory lies beside it."""
    root = shutil.copytree(exported, tmp_path / "models")
    monkeypatch.setattr("calm.model.shipped.SHIPPED", root)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return root


def test_a_shipped_model_is_loaded_by_its_name_and_generates(shipped):
    model = AudioCALM.from_pretrained("mini", device="cpu")
    assert model.name == "mini" and list(shipped_models()) == ["mini", "mini-vae"]
    assert model.generate("Rain.", task="sound", duration=0.1, steps=1)[0].audio.isfinite().all()


def test_a_folder_that_exists_comes_before_a_shipped_name_but_not_before_the_default(shipped, runs):
    shutil.copytree(runs / "generator/export", "mini")
    assert AudioCALM.from_pretrained("mini", device="cpu").name == "second"
    assert default_model() == shipped / "mini"


def test_a_run_stands_for_its_export(runs):
    assert find_model(runs / "generator") == runs / "generator/export"


def test_a_model_that_is_nowhere_is_one_error_with_the_names_and_the_next_step(shipped):
    with pytest.raises(CheckpointError, match=r"no model 'mimi'.*Did you mean 'mini'(.|\n)*mini, mini-vae(.|\n)*make demo"):
        AudioCALM.from_pretrained("mimi")


def test_without_shipped_models_the_error_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("calm.model.shipped.SHIPPED", tmp_path / "absent")
    with pytest.raises(CheckpointError, match="this copy has none"):
        default_model()


def test_a_generator_on_a_shared_vae_holds_no_vae_weights_and_loads_with_them(shipped, runs):
    with safe_open(shipped / "mini/model.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if name.startswith("vae.")]  # noqa: SIM118
    loaded, vae = load_pretrained("mini")[0], load_vae("mini-vae")
    for name, tensor in vae.state_dict().items():
        assert torch.equal(loaded.vae.state_dict()[name], tensor)
    assert load_config_file(shipped / "mini/config.yaml").vae_ckpt_path.name == "mini-vae"


def test_a_generator_is_trained_on_a_shipped_vae_by_name_even_through_a_generator(shipped):
    vae = load_vae("mini-vae").state_dict()
    for name in ("mini-vae", "mini"):
        trained = build_model(load_config([*TINY, f"vae_ckpt_path={name}"])).vae.state_dict()
        assert all(torch.equal(trained[key], tensor) for key, tensor in vae.items())


def test_a_shared_vae_may_lie_beside_a_copied_model(shipped, tmp_path):
    for name in ("mini", "mini-vae"):
        shutil.copytree(shipped / name, tmp_path / "elsewhere" / name)
    shutil.rmtree(shipped)
    assert AudioCALM.from_pretrained(tmp_path / "elsewhere/mini", device="cpu").name == "mini"
    shutil.rmtree(tmp_path / "elsewhere/mini-vae")
    with pytest.raises(CheckpointError, match="VAE 'mini-vae' is not there"):
        AudioCALM.from_pretrained(tmp_path / "elsewhere/mini")


@pytest.mark.parametrize("name", ["../mini-vae", "/tmp/mini-vae", "sub/mini-vae"])
def test_a_model_does_not_choose_files_outside_of_the_models_folder(shipped, name):
    path = shipped / "mini/config.yaml"
    path.write_text(path.read_text().replace("vae_ckpt_path: mini-vae", f"vae_ckpt_path: {name}"))
    with pytest.raises(CheckpointError, match="plain name"):
        AudioCALM.from_pretrained("mini")


def test_another_vae_of_the_same_shapes_is_refused(shipped, runs):
    stage, config = load_pretrained(runs / "vae/export")
    stage.vae.latent_mean += 1
    save_pretrained(shipped / "mini-vae", model=stage, config=config)
    with pytest.raises(CheckpointError, match="not the one that this model was exported with"):
        AudioCALM.from_pretrained("mini")
    with pytest.raises(CheckpointError, match=r"trained on another VAE than 'mini-vae'.*latent_mean"):
        export(runs / "generator/export", shipped / "again", name="again", shared_vae="mini-vae")


def test_matrices_are_rounded_vectors_and_statistics_are_not_and_all_load_as_float32(shipped, runs):
    with safe_open(shipped / "mini-vae/model.safetensors", framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {t.dtype for t in stored.values() if t.ndim > 1} == {torch.float16}
    assert {t.dtype for t in stored.values() if t.ndim < 2 and t.is_floating_point()} == {torch.float32}
    loaded = load_pretrained("mini")[0]
    assert {t.dtype for t in loaded.state_dict().values() if t.is_floating_point()} == {torch.float32}
    own = load_pretrained(runs / "generator/export")[0]
    assert torch.equal(loaded.vae.latent_std, own.vae.latent_std)


@pytest.mark.parametrize(("value", "dtype"), [(1e6, torch.float32), (1e-9, torch.float32), (1.0, torch.float16)])
def test_a_matrix_that_float16_cannot_hold_stays_float32(tmp_path, value, dtype):
    config = load_config([*TINY, "name=wide"])
    model = build_model(config)
    model.audio_in.weight.data.fill_(value)
    save_pretrained(tmp_path, model=model, config=config, dtype=torch.float16)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.get_tensor("audio_in.weight").dtype == dtype


@pytest.mark.parametrize(("dtype", "largest"), [("float16", 2e-3), ("bfloat16", 2e-2), ("float32", 0.0)])
def test_an_export_says_how_far_its_velocities_are_from_the_run_s(runs, tmp_path, dtype, largest):
    result = export(runs / "generator/export", tmp_path / dtype, name="x", dtype=dtype)
    velocity = next(each for each in result.deviations if each.output == "velocity")
    assert velocity.scale > 0.01 and velocity.relative <= largest
    assert (velocity.largest > 0) == (dtype != "float32")


def test_an_export_that_computes_something_else_is_refused(runs, tmp_path, monkeypatch):
    def wrong(folder, *, model, **options):
        model = load_pretrained(runs / "generator/export")[0]
        model.head.load_state_dict({name: torch.randn_like(t) for name, t in model.head.state_dict().items()})
        return save_pretrained(folder, model=model, **options)

    monkeypatch.setattr("calm.model.export.save_pretrained", wrong)
    with pytest.raises(CheckpointError, match="Rounding changes the velocity"):
        export(runs / "generator/export", tmp_path / "out", name="x")


def test_an_export_names_no_path_of_the_machine_that_trained_it(shipped, runs):
    assert str(runs) not in (shipped / "mini/config.yaml").read_text()
    assert load_config_of("mini").data.train == "shards"


def test_loading_leaves_no_weight_uninitialised(runs):
    """Random initial values are skipped; what is in the file replaces them all, buffers are computed as ever."""
    loaded, config = load_pretrained(runs / "generator/export")
    built = build_model(dataclasses.replace(config))
    load_into(built, runs / "generator/export")
    for (name, found), (_, expected) in zip(_tensors(loaded), _tensors(built), strict=True):
        assert torch.equal(found, expected), name


def _tensors(model):
    return [*model.named_parameters(), *model.named_buffers()]


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as folder:
        (folder / "backbone").mkdir()
        (folder / "backbone/half").write_text("")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("whole")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InputError, match="not empty"), new_folder(tmp_path / "out"):
        pass


@pytest.fixture
def changed(shipped):
    """A model that differs from `mini` in one tensor, as a folder that is based on it."""
    model, config = load_pretrained("mini")
    model.head.out.weight.data += 1
    save_pretrained(shipped / "changed", model=model, config=config, dtype=torch.float16, base="mini")
    return model


def test_a_model_on_a_base_holds_what_differs_and_loads_whole(shipped, changed):
    with safe_open(shipped / "changed/model.safetensors", framework="pt") as file:
        assert list(file.keys()) == ["head.out.weight"]
    loaded = load_pretrained("changed")[0].state_dict()
    for name, tensor in changed.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=1e-3, atol=0)
    assert load_config_file(shipped / "changed/config.yaml").pretrained_ckpt_path.name == "mini"
    assert export("changed", shipped / "alone", name="alone").num_bytes > 10 * (shipped / "changed/model.safetensors").stat().st_size


def test_a_base_may_have_a_base(shipped, changed):
    changed.head.out.bias.data += 1
    config = load_pretrained("changed")[1]
    save_pretrained(shipped / "again", model=changed, config=config, dtype=torch.float16, base="changed")
    with safe_open(shipped / "again/model.safetensors", framework="pt") as file:
        assert list(file.keys()) == ["head.out.bias"]
    loaded = load_pretrained("again")[0].state_dict()
    torch.testing.assert_close(loaded["head.out.weight"], changed.state_dict()["head.out.weight"], rtol=1e-3, atol=0)


def test_a_base_that_has_changed_or_is_gone_is_refused(shipped, changed):
    export("changed", shipped / "other", name="other", shared_vae="mini-vae")
    shutil.rmtree(shipped / "mini")
    with pytest.raises(CheckpointError, match=r"base 'mini' is not there(.|\n)*pretrained_ckpt_path"):
        AudioCALM.from_pretrained("changed")
    shutil.copytree(shipped / "other", shipped / "mini")
    with pytest.raises(CheckpointError, match="The base is not the one that this model was exported with"):
        AudioCALM.from_pretrained("changed")


def test_a_head_of_both_branches_is_exported_and_loads(shipped, tmp_path):
    head = ["head=mlp_tiny", "head.output=average_velocity", "head.branches=both"]
    config = load_config(["model=head_flow", "vae=tiny", "backbone=tiny", "expert=speech_ffn", *head])
    model = build_model(config)
    torch.nn.init.normal_(model.head.bare.weight)
    save_pretrained(tmp_path / "run", model=model, config=config)
    export(tmp_path / "run", shipped / "few", name="few")
    torch.testing.assert_close(load_pretrained("few")[0].head.bare.weight, model.head.bare.weight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["", "export"])
def test_a_run_that_is_not_finished_says_how_to_go_on(tmp_path, name):
    run = tmp_path / "runs/voice"
    run.mkdir(parents=True)
    write_status(run, RunStatus(state="preempted", step=235))
    with pytest.raises(CheckpointError, match="not finished") as caught:
        find_model(run / name)
    assert "ckpt_path=last" in str(caught.value) and "status.json" in str(caught.value)
