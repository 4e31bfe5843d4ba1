"""A model of pairs from a file belongs to the couplings that its definition holds."""

from haarflow import backends
from haarflow.core import random
from haarflow.core.spaces import Pair
from haarflow.flows.modelfile import save_model
from haarflow.flows.pairs import loops_and_hops
from haarflow.run.build import model_of
from haarflow.run.kernels import KERNELS
from haarflow.run.recipes import load
from haarflow.run.samplers import kernel
from haarflow.run.target import target_of
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy
from haarflow.theories.models.qcd import QCD
from tests.support.runs import haarflow

CARD = {"theory": {"name": "qcd", "n": 2, "lattice": [4, 4], "couplings": {"beta": 1.0, "kappa": 0.1}}}


def test_a_model_of_pairs_at_another_kappa_is_refused(tmp_path, capsys):
    model, path = loops_and_hops((4, 4), QCD((4, 4), n=2).hops, n=2, order=1), tmp_path / "pairs.safetensors"
    save_model(path, model, model.init(random.key(0, backends.get("numpy"))), CARD)
    words = (
        *("run", "qcd-4d", "lattice=[4,4]", "theory.n=2", "theory.flow_time=0", "flow=false", f"model={path}"),
        *(
            "samplers.pseudofermions=false",
            "samplers.flow-reweighting.draws=4",
            "--backend",
            "numpy",
            "--quiet",
            "--out",
        ),
    )
    assert haarflow(*words, tmp_path / "same") == 0
    assert haarflow(*words, tmp_path / "other", "theory.kappa=0.12") == 1
    assert "was made for kappa = 0.1, and at kappa = 0.12 its weights" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert haarflow(*words, tmp_path / "told", "theory.kappa=0.12", "extrapolate=true") == 0


def test_what_is_measured_and_how_well_it_is_solved_for_define_no_theory():
    target = target_of(load("qcd-4d", ["theory.tolerance=1e-8", "theory.mixed=true", "theory.n=2"]))
    assert target.definition == {"n": 2}
    assert target.theory.accuracy == Accuracy(1e-8, 1000, mixed=True) and target.theory.correlators == ("pion",)


def test_mixed_precision_is_a_setting_of_the_sampler():
    recipe = load("qcd-4d", ["samplers.pseudofermions.mixed=true", "samplers.pseudofermions.force=1e-8"])
    target = target_of(recipe)
    hmc = kernel(target.theory, target.couplings, recipe.samplers["pseudofermions"]).kernel
    assert hmc.for_force == Accuracy(1e-8, 2000, mixed=True) and hmc.for_action.mixed


def test_hasenbusch_factors_of_the_theory_are_those_of_the_flow(tmp_path, capsys):
    words = ["theory.hasenbusch=[0.09,0.08]", "theory.n=2", "theory.flow_time=0", "lattice=[4,4]", "flow.order=1"]
    target = target_of(load("qcd-4d", words))
    assert target.definition == {"n": 2, "hasenbusch": (0.09, 0.08)}
    model = model_of(target)
    assert model.prior.spaces == target.theory.spaces and target.theory.spaces.phi.shape[0] == 3
    path, card = tmp_path / "pairs.safetensors", CARD["theory"] | {"hasenbusch": [0.09, 0.08]}
    save_model(path, model, model.init(random.key(0, backends.get("numpy"))), {"theory": card})
    own = ("samplers.flow-reweighting.draws=4", "flow=false", f"model={path}", "samplers.pseudofermions=false")
    run = ("run", "qcd-4d", *words[1:4], *own, "--backend", "numpy", "--quiet", "--out")
    assert haarflow(*run, tmp_path / "same", words[0]) == 0
    assert haarflow(*run, tmp_path / "other", "theory.hasenbusch=[0.08]") == 1
    assert "parameters 0.09, 0.08, those of the theory 0.08: give theory.hasenbusch" in capsys.readouterr().err
    transport = (
        "run",
        "qcd-4d",
        *words[1:4],
        "theory.hasenbusch=[0.08]",
        "flow.kind=loops-transport",
        "--backend",
        "numpy",
        "--out",
    )
    assert haarflow(*transport, tmp_path / "transport") == 1
    assert "parameters none, those of the theory 0.08" in capsys.readouterr().err
    assert haarflow("run", "qcd-4d", *words[1:4], "theory.hasenbusch=[0.2]", "--out", tmp_path / "above") == 1
    assert "fall from kappa = 0.1 towards 0, got 0.2: order them so" in capsys.readouterr().err


def test_flux_hits_of_pairs_move_the_charge_and_draw_their_pseudofermions():
    """At beta = 0, kappa = 0 every hit is accepted: Q moves by 1 beyond what the trajectory does; phi is drawn at the new links."""
    target = target_of(load("schwinger-pairs", ["lattice=[4,4]", "theory.beta=0", "theory.kappa=0"]))
    theory, settings, host = target.theory, target.recipe.samplers["pseudofermions"], backends.get("numpy")
    kernel = KERNELS["pseudofermions"].make(theory, target.couplings, settings, None)
    trajectory, hit = kernel.kernels
    start = Pair(host.xp.zeros((4, 2, 4, 4)), host.xp.zeros((4, *theory.spaces.phi.shape)) + 0j)
    state, info = hit.step(random.key(1, host), hit.init(start))
    assert (abs(theory.gauge.charge(state.field.U)) == 1.0).all() and (info["hits"] == 1.0).all()
    assert (abs(state.field.phi) > 0.0).all() and trajectory.theory is hit.theory is theory
    _, info = kernel.step(random.key(1, host), kernel.init(start))
    assert set(info) == {"0", "1"} and info["0"]["accepted"].all()


def test_hits_are_refused_where_there_is_no_flux(tmp_path, capsys):
    words = ("samplers.pseudofermions.hits=1", "--backend", "numpy", "--out", tmp_path / "run")
    assert haarflow("run", "qcd-4d", *words) == 1
    assert "flux hits are for U(1) links in two dimensions, got qcd on" in capsys.readouterr().err
