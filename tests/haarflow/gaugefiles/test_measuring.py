"""`haarflow measure FILE`: the numbers are those of the theories and of the gradient flow, and every gap has its note."""

import math

import numpy
import pytest

from haarflow.gaugefiles import GaugeFileError, measure_gauge, write_gauge
from haarflow.theories import SUNGauge, U1Gauge
from haarflow.theories.gauge import gradient_flow
from tests.haarflow.gaugefiles.test_gaugefiles import printed
from tests.support import gauge_twins as twins
from tests.support.runs import haarflow

LOOPS = ["plaquette", "wilson_1x2", "wilson_2x2", "wilson_2x3", "wilson_3x3", "polyakov", "abs_polyakov"]
FLOW = ["t0", "w0", "t0_plaquette", "w0_plaquette", "Q", "Q_clover"]


@pytest.fixture(scope="module")
def rough(tmp_path_factory):
    """A random SU(2) field on 4^4, on which t0 and w0 are small, and its file."""
    field = twins.random_links(numpy.random.default_rng(8), (4, 4, 4, 4), 2)
    path = tmp_path_factory.mktemp("rough") / "u.lime"
    write_gauge(path, field)
    return path, field


def test_the_numbers_are_those_of_the_theory_and_of_the_flow(rough):
    path, field = rough
    theory = SUNGauge((4, 4, 4, 4), 2)
    found = measure_gauge(path, step=0.02, flow_time=1.0)
    assert list(found["observables"]) == LOOPS + FLOW
    values = {name: entry["value"] for name, entry in found["observables"].items()}
    assert [values[name] for name in LOOPS] == [float(theory.observables(field)[name]) for name in LOOPS]
    steps = len(found["flow"]["times"]) - 1
    flowed = gradient_flow.flow(theory, field, 0.02, steps)
    for suffix, energy in (("", flowed.energy), ("_plaquette", flowed.plaquette_energy)):
        for name, scale in gradient_flow.scales(flowed.times, energy).items():
            assert values[name + suffix] == pytest.approx(scale, rel=1e-12) and 0 < scale < 1.0
    assert found["flow"]["charge"] == pytest.approx(list(flowed.charge), abs=1e-12)
    assert values["Q"] == pytest.approx(float(gradient_flow.charge(theory, flowed.field, improved=True)), abs=1e-12)
    assert found["notes"] == ["one configuration: no statistical errors"]


def test_the_flow_ends_soon_after_the_scales(rough):
    """One look later, so that the derivative in w0 is central at the crossing."""
    found = measure_gauge(rough[0], step=0.02, flow_time=4.0)
    values = {name: entry["value"] for name, entry in found["observables"].items()}
    latest = max(values["t0"], values["t0_plaquette"], values["w0"] ** 2, values["w0_plaquette"] ** 2)
    assert latest + 0.02 < found["flow"]["times"][-1] < latest + 0.22


def test_scales_that_are_not_reached_say_so(rough, capsys):
    found = printed(capsys, "measure", rough[0], "--flow-time", "0.05", "--step", "0.01")
    assert found["flow"]["times"][-1] == pytest.approx(0.05)
    assert found["observables"]["t0"]["value"] is None
    assert "not reached up to flow time 0.05" in found["observables"]["t0"]["note"]
    assert haarflow("measure", rough[0], "--flow-time", "0") == 0
    text = capsys.readouterr().out
    assert "t0 " not in text and f"{found['observables']['plaquette']['value']:.8g}\n" in text


def test_angles_of_u1_in_two_dimensions(tmp_path, capsys):
    angles = numpy.random.default_rng(3).uniform(-math.pi, math.pi, (2, 6, 4))
    write_gauge(tmp_path / "u.lime", angles)
    found = printed(capsys, "measure", tmp_path / "u.lime")
    wanted = U1Gauge((6, 4)).observables(angles)
    for name in ("plaquette", "wilson_2x2", "Q", "polyakov"):
        assert found["observables"][name]["value"] == pytest.approx(float(wanted[name]), abs=1e-12)
    assert found["flow"] is None and "SU(N) in four dimensions" in found["notes"][-1]


def test_every_backend_measures_the_same(backend, tmp_path):
    field = twins.random_links(numpy.random.default_rng(8), (2, 2, 2, 2), 2)
    write_gauge(tmp_path / "u.lime", field)
    here = measure_gauge(tmp_path / "u.lime", flow_time=0)["observables"]
    there = measure_gauge(tmp_path / "u.lime", backend, flow_time=0)["observables"]
    assert there.keys() == here.keys()
    assert all(there[name]["value"] == pytest.approx(here[name]["value"], abs=1e-12) for name in here)


def test_a_file_that_contradicts_itself_is_measured_only_when_told(tiny, tmp_path, capsys):
    path = twins.stored(tmp_path, twins.nersc_file(tiny, CHECKSUM="1"))
    with pytest.raises(GaugeFileError, match="checksum: recorded"):
        measure_gauge(path)
    assert haarflow("measure", path, "--flow-time", "0") == 1 and "checksum" in capsys.readouterr().err
    assert printed(capsys, "measure", path, "--no-check", "--flow-time", "0")["format"] == "NERSC"
    with pytest.raises(ValueError, match="step > 0"):
        measure_gauge(path, step=0.0)


def test_bare_links_are_measured_with_lattice_and_group(tiny, tmp_path, capsys):
    data = b"".join(twins.packed(tiny, ">", "d", 3))
    path = twins.stored(tmp_path, twins.lime_file(("ildg-binary-data", data)))
    words = ("--lattice", "2,2,2,2", "--group", "3", "--flow-time", "0")
    found = printed(capsys, "measure", path, *words)
    assert found["observables"]["plaquette"]["value"] == pytest.approx(twins.plaquette(tiny), abs=1e-14)
    assert haarflow("measure", path, "--lattice", "two") == 1 and "row of extents" in capsys.readouterr().err
