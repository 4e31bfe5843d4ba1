"""Bad input: one clear error, an exit code other than 0, nothing written over or lost."""

import json
import os
import resource
import shutil

import pytest

from haarflow.core import files
from haarflow.results.summary_file import SummaryError, read_summary
from haarflow.run.recipes import load
from tests.support.runs import haarflow, numbers, process, uniform_model, uniform_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return uniform_recipe(tmp_path_factory.mktemp("bad"))


def refused(capsys, folder, *words):
    """Give a command that must fail; return its one complaint, after checking that nothing was written."""
    capsys.readouterr()
    assert haarflow(*words, "--out", folder, "--quiet") == 1
    said = capsys.readouterr().err
    assert said.startswith("haarflow: ") and "Traceback" not in said
    assert not folder.exists()
    return said


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("theory.beta=-1", "theory.beta must be greater than or equal to 0"),
        ("theory.beta=nan", "theory.beta must be a finite number"),
        ("theory.beta='0.5'", "theory.beta must be a number, got '0.5'"),
        ("sampelrs.hmc=3", "sampelrs: there is no such key, did you mean 'samplers'?"),
        ("lattice=[4, 4, 4]", "lattice"),
        ("lattice=[1, 4]", "extent"),
        ("theory={name='phi4', m2=-4.0, lam=8.0}", "a heat bath exists for gauge theories and spins only"),
        ("run.dtype=float16", "run.dtype: 'float16' is not known"),
        ("samplers.mixture.kernels=[]", "samplers.mixture.kernels"),
        ("model=nowhere.safetensors", "no model 'nowhere.safetensors'"),
    ],
)
def test_a_recipe_that_cannot_run(override, says, recipe, tmp_path, capsys):
    assert says in refused(capsys, tmp_path / "run", "run", recipe, override, "--backend", "numpy")


def test_three_faults_are_all_named(recipe, tmp_path, capsys):
    said = refused(capsys, tmp_path / "run", "run", recipe, "theory.bta=1", "samplers.hmc.steps='3'", "sed=4")
    for line in ("did you mean 'beta'?", "samplers.hmc.steps must be an integer, got '3'", "did you mean 'seed'?"):
        assert line in said
    assert "3 errors" in said


@pytest.mark.parametrize("lattice", ["[5, 8]", "[8, 5]"])
def test_extents_that_the_masks_do_not_divide(lattice, tmp_path, capsys):
    pytest.importorskip("torch")
    said = refused(capsys, tmp_path / "run", "run", "u1-tiny", f"lattice={lattice}", "--backend", "torch")
    assert "5" in said and "2" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--backend", "jx"], "run.backend: 'jx' is not known"),
        (["--backend", "numpy", "--device", "cuda"], "numpy computes on 'cpu' only"),
        (["--backend", "numpy"], "does not support automatic differentiation, which training needs"),
        (["--backend", "torch", "--device", "nonsense"], "device"),
        (["--dtype", "half"], "run.dtype: 'half' is not known"),
        (["--seed", "-3"], "seed must be greater than or equal to 0"),
        (["flow.block=3"], "power of two"),
        (["flow.pieces='8'"], "flow.pieces must be an integer"),
    ],
)
def test_an_engine_or_flow_that_cannot(words, says, tmp_path, capsys):
    pytest.importorskip("torch")
    assert says in refused(capsys, tmp_path / "run", "run", "u1-tiny", *words)


def test_a_model_that_is_cut_short(recipe, tmp_path, capsys):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(uniform_model(tmp_path / "whole.safetensors").read_bytes()[:-20])
    assert "cut short" in refused(capsys, tmp_path / "run", "run", recipe, f"model={cut}", "--backend", "numpy")
    assert haarflow("info", cut) == 1
    assert "cut short" in capsys.readouterr().err


def test_a_model_of_another_theory(recipe, tmp_path, capsys):
    other = uniform_model(tmp_path / "other.safetensors", theory="su3")
    said = refused(capsys, tmp_path / "run", "run", recipe, f"model={other}", "--backend", "numpy")
    assert "'su3'" in said and "'u1'" in said


def test_a_model_from_a_newer_version(recipe, tmp_path, capsys):
    from safetensors.numpy import save_file

    newer = tmp_path / "newer.safetensors"
    header = {"format": "haarflow-model", "version": 99, "definition": {}, "card": {}}
    save_file({}, newer, metadata={"haarflow": json.dumps(header)})
    assert "upgrade it" in refused(capsys, tmp_path / "run", "run", recipe, f"model={newer}", "--backend", "numpy")


def test_a_model_with_wrong_shapes(recipe, tmp_path, capsys):
    import numpy

    from haarflow.flows.modelfile import pack, read

    whole = uniform_model(tmp_path / "whole.safetensors")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(pack({"w": numpy.zeros(3)}, read(whole, "haarflow-model", 1)[1]))
    assert "another model" in refused(capsys, tmp_path / "run", "run", recipe, f"model={wrong}", "--backend", "numpy")


def test_fine_tuning_from_another_flow(recipe, tmp_path, capsys):
    pytest.importorskip("torch")
    model = uniform_model(tmp_path / "uniform.safetensors")
    capsys.readouterr()
    assert (
        haarflow("run", "u1-tiny", f"train.start={model}", "--backend", "torch", "--out", tmp_path / "run", "--quiet")
        == 1
    )
    assert "another flow" in capsys.readouterr().err


def test_a_full_disk_loses_nothing_and_the_same_command_goes_on(recipe, tmp_path, capsys):
    words = ("run", recipe, "--backend", "numpy", "--no-report", "--quiet", "--out")
    assert haarflow(*words, tmp_path / "whole") == 0
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"  # a write beyond the limit then fails as on a full disk
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "from haarflow.cli import main; sys.exit(main())"
    )
    full = process(*words, tmp_path / "run", code=code)
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    assert f"the disk is full ({tmp_path / 'run'}/" in full.stderr, full.stderr
    assert not (tmp_path / "run" / "summary.json").exists()
    assert haarflow(*words, tmp_path / "run") == 0
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")


def test_a_full_disk_while_composing_leaves_the_blocks(recipe, tmp_path, monkeypatch, capsys):
    words = ("run", recipe, "--backend", "numpy", "--no-report", "--quiet", "--out", tmp_path / "run")
    flush = files._flush

    def full(path):
        if "ensemble" in path.name:
            raise OSError(28, "No space left on device", str(path))
        flush(path)

    monkeypatch.setattr(files, "_flush", full)
    assert haarflow(*words) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert not (tmp_path / "run" / "ensemble.h5").exists() and len(list((tmp_path / "run" / "blocks").iterdir())) > 10
    monkeypatch.undo()
    assert haarflow(*words) == 0


def test_a_folder_that_cannot_be_made(recipe, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert haarflow("run", recipe, "--backend", "numpy", "--out", tmp_path / "file" / "run") == 1
    assert "haarflow: " in capsys.readouterr().err


def test_nan_in_a_loss_stops_with_the_last_good_checkpoint_kept(tmp_path, capsys):
    pytest.importorskip("torch")
    words = ("run", "u1-tiny", "train.lr=1e200", "train.clip=0", "train.schedule=constant", "train.checkpoint=1")
    out = tmp_path / "run"
    assert haarflow(*words, "--backend", "torch", "--quiet", "--out", out) == 1
    said = capsys.readouterr().err
    assert "training stopped at step" in said and "not finite" in said
    assert not (out / "model.safetensors").exists() and not (out / "ensemble.h5").exists()
    if "is kept in" in said:
        kept = (out / "checkpoint.safetensors").read_bytes()
        assert haarflow(*words, "--backend", "torch", "--quiet", "--out", out) == 1
        assert (out / "checkpoint.safetensors").read_bytes() == kept


@pytest.mark.parametrize(
    "words", [["info", "nowhere"], ["measure", "nowhere"], ["sample", "nowhere"], ["run", "nowhere"]]
)
def test_what_is_not_there(words, capsys):
    assert haarflow(*words) == 1
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["u3"], "did you mean 'su3'?"),
        (["u1", "bta=3"], "did you mean 'beta'?"),
        (["u1", "beta=x"], "theory.beta must be a number, got 'x'"),
        (["u1", "lattice=[0,4]"], "lattice.0"),
    ],
)
def test_exact_of_nonsense(words, says, capsys):
    assert haarflow("exact", *words) == 1
    assert says in capsys.readouterr().err


def test_measuring_what_is_no_ensemble(recipe, tmp_path, capsys):
    shutil.copy(recipe, tmp_path / "x.h5")
    assert haarflow("measure", tmp_path / "x.h5") == 1
    assert "not an HDF5 file" in capsys.readouterr().err
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# ---- what only a hostile file does


@pytest.mark.parametrize("name", ["../../../x", "", ".x", "-x", "a b", "a/b", "ä", "a" * 65, "x\n"])
def test_a_sampler_or_a_run_named_like_a_path_is_refused(name, recipe, tmp_path, capsys):
    said = refused(
        capsys, tmp_path / "run", "run", changed(recipe, tmp_path, {"samplers": {name: {"kind": "hmc"}}, "sed": 1})
    )
    assert "a name begins with a letter or a digit" in said and "did you mean 'seed'?" in said  # with the other errors
    assert "a name begins" in refused(capsys, tmp_path / "run", "run", changed(recipe, tmp_path, {"name": name}))


def changed(recipe, folder, values):
    """The recipe with other values in another file."""
    import tomllib

    from haarflow.run.toml import dumps

    path = folder / "changed.toml"
    path.write_text(dumps(tomllib.loads(recipe.read_text()) | values), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a", "9", "a" * 64, "flow.2_b-C"])
def test_names_that_are_files_names_are_taken(name, recipe, tmp_path):
    found = load(changed(recipe, tmp_path, {"name": name, "samplers": {name: {"kind": "hmc"}}}))
    assert found.name == name and list(found.samplers) == [name]


@pytest.mark.parametrize("name", ["x.toml", "x.h5", "x.safetensors", "x.lime", "x"])
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(name, tmp_path, capsys):
    os.mkfifo(tmp_path / name)
    for verb in ("info", "measure", "run", "sample", "convert"):
        assert haarflow(verb, tmp_path / name, *([tmp_path / "y.nersc"] if verb == "convert" else [])) == 1, verb
        said = capsys.readouterr().err
        assert said.startswith("haarflow: ") and "x" in said


@pytest.mark.parametrize("name", ["recipe.toml", "metrics.jsonl", "summary.json", "ensemble.h5"])
def test_a_pipe_in_a_run_folder_is_refused_at_once(name, tmp_path, capsys):
    (tmp_path / "recipe.toml").write_text("name = 'x'\nlattice = [4, 4]\ntheory = {name = 'u1', beta = 1.0}\n")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    verb = "measure" if name == "ensemble.h5" else "info"
    if name == "summary.json":
        with pytest.raises(SummaryError, match="a pipe"):
            read_summary(tmp_path / name)
    else:
        assert haarflow(verb, tmp_path) == 1 and "is a pipe" in capsys.readouterr().err


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch, capsys):
    from haarflow.run import recipes

    def mistake():
        return int("not a number")

    monkeypatch.setattr(recipes, "names", mistake)
    monkeypatch.setattr("haarflow.cli.in_users_code", lambda error: False)  # this test is no user
    with pytest.raises(ValueError, match="invalid literal"):
        haarflow("recipes")


def test_too_little_memory_is_a_sentence(monkeypatch, capsys):
    from haarflow.run import recipes

    def large():
        raise MemoryError("Unable to allocate 6.7 GiB")

    monkeypatch.setattr(recipes, "names", large)
    monkeypatch.setattr("haarflow.cli.in_users_code", lambda error: False)
    assert haarflow("recipes") == 1
    assert "not enough memory (Unable to allocate 6.7 GiB)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("lattice=[5, 4]", "even"),
        ("samplers.pseudofermions.poles=0", "samplers.pseudofermions.poles must be greater than or equal to 1"),
        ("theory.flavours=0", "theory.flavours must be greater than or equal to 1"),
        ("lattice=[4, 4, 4]", "flux hits are for U(1) links in two dimensions, got schwinger on [4, 4, 4]"),
        (
            "samplers.pseudofermions.masses=[0.28]",
            "Hasenbusch masses are hopping parameters that fall from kappa = 0.276",
        ),
        ("samplers.pseudofermions.inner=[['omelyan', 0]]", "samplers.pseudofermions.inner"),
        (
            "samplers.pseudofermions.inner=[['omelyan', 2], ['omelyan', 2]]",
            "here 1 (the heavier factors and the gauge force)",
        ),
        ("samplers.heatbath={}", "a heat bath exists for gauge theories and spins only"),
    ],
)
def test_a_schwinger_model_that_cannot_run(override, says, tmp_path, capsys):
    assert says in refused(capsys, tmp_path / "run", "run", "schwinger-2d", override, "--backend", "numpy")


def test_one_flavour_whose_spectrum_leaves_the_interval_stops_the_run(tmp_path, capsys):
    only = [f"samplers.{name}=false" for name in ("hmc", "hmc-hits", "pseudofermions-hits")]
    sampler = {"chains": 2, "draws": 1, "warmup": 0, "steps": 1, "poles": 4, "lowest": 0.5}
    words = [
        "theory.flavours=1",
        "lattice=[2, 2]",
        *(f"samplers.pseudofermions.{key}={x}" for key, x in sampler.items()),
    ]
    assert (
        haarflow("run", "schwinger-2d", *only, *words, "--backend", "numpy", "--out", tmp_path / "run", "--quiet") == 1
    )
    said = capsys.readouterr().err
    assert "samplers.pseudofermions: at beta = 2, kappa = 0.276 the smallest eigenvalue" in said
    assert "below the interval of the rational approximation" in said and "set a smaller lowest" in said


def test_a_solve_that_does_not_converge_stops_the_run(tmp_path, capsys, monkeypatch):
    """Where no dense matrix fits: one sentence with sampler, kappa and residual, and the blocks before it are kept."""
    from haarflow.theories.fermions.pseudofermions import pseudofermion

    monkeypatch.setattr(pseudofermion, "fits", lambda *args: False)
    only = [f"samplers.{name}=false" for name in ("hmc", "hmc-hits", "pseudofermions-hits")]
    few = ["lattice=[4, 4]", "samplers.pseudofermions.max_steps=2", "samplers.pseudofermions.chains=2"]
    folder = tmp_path / "run"
    assert haarflow("run", "schwinger-2d", *only, *few, "--backend", "numpy", "--out", folder, "--quiet") == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said and "finished blocks are kept" in said
    for word in ("samplers.pseudofermions", "kappa = 0.276", "a relative residual of", "a smaller kappa"):
        assert word in said
