"""One's own theory and flow from the command line: named there, never imported because a file says so."""

import json
import sys

import pytest

from haarflow.backends import is_present
from haarflow.run import own, recipes
from haarflow.run.own import Own
from haarflow.run.recipes import RecipeError
from haarflow.run.target import target_of
from tests.support.runs import ROOT, haarflow, process

MODULE = '''
from dataclasses import dataclass
from array_api_compat import array_namespace
from haarflow.core.groups.additive import U1
from haarflow.core.lattice.geometry import shift
from haarflow.core.parts import Local
from haarflow.flows.flow import Model
from haarflow.theories.theory import couplings_for


@dataclass(frozen=True)
class XY:
    """S = -beta sum cos(theta(x+mu) - theta(x))."""

    lattice: tuple[int, ...]
    group = U1()
    couplings = {"beta": 1.0}

    def action(self, theta, couplings=None):
        xp, d = array_namespace(theta), len(self.lattice)
        beta = couplings_for(self, theta, couplings, over=0)["beta"]
        return -beta * xp.sum(sum(xp.cos(shift(theta, mu, d) - theta) for mu in range(d)), axis=tuple(range(-d, 0)))


@dataclass(frozen=True)
class Whole:
    """The same with a force, a density, observables, a bool and a word."""

    lattice: tuple[int, ...]
    signed: bool = True
    boundary: str = "closed"
    group = U1()
    couplings = {"beta": 1.0}
    labels = {"bond": "the bond"}

    @property
    def local(self):
        return Local(self.density, reach=1)

    def density(self, theta, couplings=None):
        xp, d = array_namespace(theta), len(self.lattice)
        beta = couplings_for(self, theta, couplings, over=d + 1)["beta"]
        return -beta * xp.stack([xp.cos(shift(theta, mu, d) - theta) for mu in range(d)], axis=-1 - d)

    def action(self, theta, couplings=None):
        return array_namespace(theta).sum(self.density(theta, couplings), axis=tuple(range(-1 - len(self.lattice), 0)))

    def force(self, theta, couplings=None):
        xp, d, beta = array_namespace(theta), len(self.lattice), couplings_for(self, theta, couplings)["beta"]
        return beta * sum(xp.sin(theta - shift(theta, mu, d, step)) for mu in range(d) for step in (1, -1))

    def observables(self, theta, couplings=None):
        xp, d = array_namespace(theta), len(self.lattice)
        bonds = sum(xp.cos(shift(theta, mu, d) - theta) for mu in range(d)) / d
        return {"bond": xp.mean(bonds, axis=tuple(range(-d, 0)))}

    def exact(self, couplings=None):
        return {"bond": 0.0} if couplings["beta"] == 0 else {}


@dataclass(frozen=True)
class Angles:
    lattice: tuple[int, ...]
    group = U1()

    @property
    def field_shape(self):
        return self.lattice

    def sample(self, key, n, dtype="float64"):
        return U1().haar(key, (n, *self.lattice), dtype)

    def log_density(self, x):
        return array_namespace(x).zeros(x.shape[0], dtype=x.dtype)


@dataclass(frozen=True)
class Turn:
    by: float = 1.0

    def init(self, key, dtype="float64"):
        from haarflow.core import random

        return {"a": random.normal(key, (1,), dtype)}

    def forward(self, params, x, condition=None):
        return x + self.by * params["a"], array_namespace(x).zeros(x.shape[0], dtype=x.dtype)

    def inverse(self, params, y, condition=None):
        return y - self.by * params["a"], array_namespace(y).zeros(y.shape[0], dtype=y.dtype)


def turned(lattice, by: float = 1.0):
    """All angles turned by one learnt angle."""
    return Model(Angles(tuple(lattice)), Turn(by))


def nothing(lattice):
    return 3
'''

HMC = """
name = "mine"
lattice = [4, 4]
fields_every = 10
[theory]
beta = 0.5
[samplers.hmc]
chains = 4
draws = 20
warmup = 4
step_size = 0.2
"""

WHOLE = """
name = "whole"
lattice = [2, 4]
fields_every = 5
[theory]
beta = 0.0
signed = false
boundary = "open"
[samplers]
hmc = { chains = 8, draws = 50, warmup = 4, step_size = 0.2 }
metropolis = { chains = 8, draws = 50, warmup = 4 }
"""
FLOW = """
flow-reweighting = { draws = 100 }
flow-metropolis = { draws = 100, warmup = 10 }
[flow]
by = 0.5
[train]
steps = 4
batch = 8
checkpoint = 2
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with one's own module in it, as a person's working folder."""
    (tmp_path / "own_xy.py").write_text(MODULE)
    (tmp_path / "mine.toml").write_text(HMC)
    (tmp_path / "whole.toml").write_text(WHOLE)
    (tmp_path / "flow.toml").write_text(WHOLE.replace('"whole"', '"flow"') + FLOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_xy", None)
    yield tmp_path
    sys.modules.pop("own_xy", None)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_an_action_alone_runs_by_hmc_where_there_is_autodiff(here, backend):
    if not is_present(backend):
        pytest.skip(f"no {backend}")
    words = ("run", here / "mine.toml", "--theory", "own_xy:XY", "-b", backend, "-q", "-o", here / "run")
    if backend == "jax":  # once as a person does, in a process of its own
        done = process(*words, PYTHONPATH=f"{here}:{ROOT}")
        assert done.returncode == 0, done.stderr
    else:
        assert haarflow(*words) == 0
    assert summary(here / "run")["samplers"]["hmc"]["acceptance"] > 0.5
    assert "XY on 4×4, beta = 0.5" in (here / "run" / "report.html").read_text(encoding="utf-8")


def test_numpy_says_what_is_missing(here, capsys):
    assert haarflow("run", "mine.toml", "--theory", "own_xy:XY", "-b", "numpy", "-q") == 1
    said = capsys.readouterr().err
    assert "XY has no method force(field, couplings)" in said and "--backend jax" in said
    assert not (here / "runs").exists()


def test_a_whole_theory_runs_on_numpy_and_its_folder_wants_the_option_again(here, capsys):
    words = ("run", "whole.toml", "-b", "numpy", "-q")
    assert haarflow(*words, "--theory", "own_xy:Whole") == 0
    folder = here / "runs" / "whole"
    found = summary(folder)
    assert found["theory"] == {"name": "own_xy:Whole", "signed": False, "boundary": "open", "beta": 0.0}
    for sampler in found["samplers"].values():  # two pulls of 400 draws: |pull| < 5; the seed is fixed
        entry = sampler["observables"]["bond"]
        assert entry["exact"] == 0.0 and abs(entry["value"]) < 5 * entry["error"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "signed = false, boundary = open" in page and "the bond" in page
    capsys.readouterr()
    for again in (("run", folder), ("measure", folder), ("info", folder)):
        assert haarflow(*again) == 1
        assert "--theory own_xy:Whole" in capsys.readouterr().err
    assert haarflow("run", folder, "-b", "numpy", "-q", "--theory", "own_xy:Whole", "-o", folder) == 0
    assert haarflow("measure", folder, "--theory", "own_xy:Whole") == 0


def test_a_file_alone_imports_nothing(here):
    table = {"name": "x", "lattice": [4, 4], "theory": {"name": "own_xy:XY"}, "flow": {"kind": "own_xy:turned"}}
    with pytest.raises(RecipeError, match=r"(?s)flow.kind.*--flow own_xy:turned.*theory.name.*--theory own_xy:XY"):
        recipes.check(table)
    assert "own_xy" not in sys.modules


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("own_xy", "named module:name"),
        ("own_yx:XY", "no module 'own_yx'"),
        ("own_xy:YX", "own_xy has no 'YX'"),
        ("own_xy:nothing", "does not make a theory on a lattice"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(option, said, capsys):
    assert haarflow("run", "mine.toml", "--theory", option) == 1
    assert said in capsys.readouterr().err


def test_words_and_samplers_are_those_of_the_theory():
    xy, whole = Own("own_xy:XY"), Own("own_xy:Whole")
    with pytest.raises(RecipeError, match=r"theory.bta: there is no such key, did you mean 'beta'\?"):
        recipes.load("mine.toml", ["theory.bta=2"], xy)
    with pytest.raises(RecipeError, match="does not admit metropolis; it admits flow, hmc"):
        recipes.load("mine.toml", ["samplers.metropolis.draws=3"], xy)
    with pytest.raises(RecipeError, match="a heat bath exists for gauge theories and spins only"):
        recipes.load("mine.toml", ["samplers.heatbath.draws=3"], whole)
    with pytest.raises(RecipeError, match=r"theory\.signed must be true or false"):
        recipes.load("whole.toml", ["theory.signed=1"], whole)
    assert target_of(recipes.load("mine.toml", ["theory.beta=2"], xy)).couplings == {"beta": 2.0}
    assert own.needs_autodiff(target_of(recipes.load("mine.toml", (), xy)).theory)


def test_a_flow_trains_and_its_model_says_what_it_wants(here, capsys):
    pytest.importorskip("torch")
    named = ("--theory", "own_xy:Whole", "--flow", "own_xy:turned")
    assert haarflow("run", "flow.toml", "-b", "torch", "-q", *named) == 0
    folder = here / "runs" / "flow"
    assert haarflow("info", folder / "model.safetensors", "--json") == 0
    card = json.loads(capsys.readouterr().out.split("report.html\n")[-1])["card"]
    assert card["theory"]["name"] == "own_xy:Whole" and card["theory"]["signed"] is False
    assert card["flow"] == {"kind": "own_xy:turned", "by": 0.5}
    draw = ("sample", folder, "-n", 50, "-b", "numpy", "-q", "-o", here / "drawn")
    assert haarflow(*draw) == 1 and "--theory own_xy:Whole" in capsys.readouterr().err
    assert haarflow(*draw, *named[:2]) == 1 and "--flow own_xy:turned" in capsys.readouterr().err
    assert haarflow(*draw, *named) == 0
    # beta = 0: the weights of uniform angles are all one
    assert summary(here / "drawn")["samplers"]["flow-reweighting"]["ess"] == pytest.approx(1.0)
    pytest.importorskip("hypothesis")
    verify = ("verify", folder / "model.safetensors", "-b", "numpy", "-l", "round_trip", "-q")
    assert haarflow(*verify) == 1 and "--flow own_xy:turned" in capsys.readouterr().err
    assert haarflow(*verify, *named[2:]) == 0
    (here / "own_xy.py").write_text(
        MODULE.replace("    group = U1()\n\n    @property\n    def field_shape", "    def shape")
    )
    sys.modules.pop("own_xy")
    assert (
        haarflow(*verify, *named[2:]) == 1
        and "Angles of this model lacks group and field_shape" in capsys.readouterr().err
    )


def test_bench_and_verify_take_the_same_options(here, capsys):
    words = ("-b", "numpy", "-w", "action,forward", "-l", "2x2", "--batch", 2, "-r", 1, "-q", "--json", here / "b.json")
    assert haarflow("bench", "--theory", "own_xy:Whole", "--flow", "own_xy:turned", *words) == 0
    rows = json.loads((here / "b.json").read_text())["rows"]
    assert {row["work"] for row in rows} == {"action", "forward"} and all(row["cpu_s"] > 0 for row in rows)
    pytest.importorskip("hypothesis")
    capsys.readouterr()
    assert haarflow("verify", "--theory", "own_xy:Whole", "-b", "numpy", "-l", "force_by_differences", "-q") == 0
    assert "own_xy:Whole" in capsys.readouterr().out


def test_exact_results_of_ones_own_theory(here, capsys):
    assert haarflow("exact", "own_xy:Whole", "beta=0", "lattice=[4]", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exact"]["bond"] == 0.0 and found["lattice"] == [4]
    assert haarflow("exact", "own_xy:Nothing") == 1
    assert "Nothing" in capsys.readouterr().err


def test_a_complex_action_is_refused(here, capsys):
    (here / "own_xy.py").write_text(MODULE.replace("return -beta * xp.sum(", "return (1j - beta) * xp.sum("))
    assert haarflow("run", "mine.toml", "--theory", "own_xy:XY", "-b", "numpy", "-q", "-o", here / "run") != 0
    assert "XY.action is complex" in " ".join(capsys.readouterr().err.split())
