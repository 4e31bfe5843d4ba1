"""Files of other codes and kinds: HiRep, MILC in double precision, N-1 rows, bare links, fewer dimensions and U(1)."""

import itertools
import struct

import numpy
import pytest

from haarflow import backends
from haarflow.core.lattice.loops import plaquettes
from haarflow.gaugefiles import GaugeFileError, convert_gauge, gauge_info, read_gauge, recognised, write_gauge
from haarflow.gaugefiles.formats.table import WRITABLE
from haarflow.theories import SUNGauge, U1Gauge
from tests.haarflow.gaugefiles.test_gaugefiles import printed
from tests.support import gauge_twins as twins
from tests.support.runs import haarflow


def drawn(lattice=(2, 2, 2, 2), n=3, seed=4):
    """Random links of SU(n) in any dimension."""
    generator, d = numpy.random.default_rng(seed), len(lattice)
    matrices = generator.normal(size=(2, d, *lattice, n, n))
    q, _ = numpy.linalg.qr(matrices[0] + 1j * matrices[1])
    q = q / (numpy.linalg.det(q) ** (1 / n))[..., None, None]
    return numpy.ascontiguousarray(numpy.moveaxis(q, (-2, -1), (1, 2)))


# ---- HiRep


@pytest.mark.parametrize("n", [2, 3, 4])
def test_hirep_bytes_are_those_of_the_twin(tmp_path, n):
    field = drawn((3, 2, 4, 1), n)
    write_gauge(tmp_path / "u.hirep", field)
    found, wanted = (tmp_path / "u.hirep").read_bytes(), twins.hirep_file(field, rows=1 if n == 2 else n)
    assert found[:20] == wanted[:20] and len(found) == len(wanted)
    assert numpy.frombuffer(found[28:], ">f8") == pytest.approx(numpy.frombuffer(wanted[28:], ">f8"), abs=1e-15)
    assert struct.unpack(">d", found[20:28])[0] == pytest.approx(twins.plaquette(field), abs=1e-14)
    assert abs(read_gauge(tmp_path / "u.hirep").links - field).max() < 1e-15


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(("n", "rows"), [(2, 1), (2, 2), (3, 3)])
def test_hirep_is_told_from_openqcd_by_its_length(tmp_path, order, n, rows):
    field = drawn((4, 4, 2, 2), n)
    path = twins.stored(tmp_path, twins.hirep_file(field, order, rows))
    links, report = read_gauge(path)
    assert abs(links - field).max() < 1e-15 and report.format == "HiRep" and report.group == f"SU({n})"
    assert [check.name for check in report.checks if check.agrees] == ["plaquette", "unitarity", "determinant"]


def test_an_openqcd_file_that_begins_like_hirep_is_openqcd(tmp_path):
    """A plaquette whose low bytes are a small integer: four extents and N are plausible, the length is openQCD's."""
    field = drawn((2, 2, 2, 2))
    data = bytearray(twins.openqcd_file(field))
    data[16:20] = struct.pack("<i", 3)
    path = twins.stored(tmp_path, bytes(data))
    assert recognised(path) == "openqcd" and (read_gauge(path).links == field).all()


# ---- MILC and NERSC


@pytest.mark.parametrize("order", ["<", ">"])
def test_milc_in_double_precision_is_told_by_its_length(tiny, tmp_path, order):
    links, report = read_gauge(twins.stored(tmp_path, twins.milc_file(tiny, order, kind="d")))
    assert (links == tiny).all() and report.precision == "float64" and report.checksum == "agrees"


def test_milc_of_another_group(tmp_path):
    field = drawn(n=4)
    path = twins.stored(tmp_path, twins.milc_file(field))
    with pytest.raises(GaugeFileError, match="too many"):
        read_gauge(path)
    assert abs(read_gauge(path, group="su4").links - field).max() < 1e-6


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("missing", [0, 1])
def test_the_rows_of_nersc_are_told_by_the_length(tmp_path, n, missing):
    """4D_SU4_GAUGE holds three rows in some codes and all in others."""
    field = drawn(n=n)
    data = twins.nersc_file(field, n - missing, DATATYPE=f"4D_SU{n}_GAUGE")
    links, report = read_gauge(twins.stored(tmp_path, data))
    assert abs(links - field).max() < 5e-15 and report.checksum == "agrees" and report.agrees


# ---- precision


@pytest.mark.parametrize("word", sorted(WRITABLE))
@pytest.mark.parametrize("precision", [None, "float64"])
def test_single_links_are_read_again(tiny, tmp_path, word, precision):
    single = tiny.astype(numpy.complex64)
    written = write_gauge(tmp_path / "u", single, word, precision=precision)
    links, report = read_gauge(tmp_path / "u")
    double = precision == "float64" or word in ("openqcd", "hirep")
    assert report.agrees and report.precision == written.precision == ("float64" if double else "float32")
    assert abs(links - tiny).max() < 3e-7 and written.projected == double
    assert any("single precision projected onto SU(3)" in note for note in written.notes) == double


def test_links_that_stay_single_are_projected_where_the_format_is_double(tiny, tmp_path):
    path = twins.stored(tmp_path, twins.milc_file(tiny))
    done = convert_gauge(path, tmp_path / "u.openqcd", project=False)
    assert "single precision projected" in done.target.notes[0] and read_gauge(tmp_path / "u.openqcd").report.agrees


# ---- files that say neither lattice nor group


@pytest.mark.parametrize("kind", ["f", "d"])
@pytest.mark.parametrize("order", [">", "<"])
def test_bare_links_are_read_with_lattice_and_group(tmp_path, capsys, kind, order):
    field = drawn((4, 2, 3, 2))
    path = twins.stored(tmp_path, twins.lime_file(("ildg-binary-data", b"".join(twins.packed(field, order, kind, 3)))))
    with pytest.raises(GaugeFileError, match=r"lattice=\(T, X, Y, Z\) and group=3"):
        read_gauge(path)
    with pytest.raises(GaugeFileError, match="neither lattice nor group"):
        gauge_info(path, lattice=(4, 2, 3, 2))
    with pytest.raises(GaugeFileError, match="another lattice, group or precision"):
        gauge_info(path, lattice=(4, 2, 3, 2), group=2)
    links, report = read_gauge(path, lattice=(4, 2, 3, 2), group=3)
    assert abs(links - field).max() < (1e-6 if kind == "f" else 1e-15)
    assert report.precision == {"f": "float32", "d": "float64"}[kind]
    words = ("--lattice", "4x2x3x2", "--group", "SU(3)")
    assert printed(capsys, "info", path, *words)["lattice"] == [4, 2, 3, 2]
    assert printed(capsys, "convert", path, tmp_path / "v.nersc", *words)["written"]["format"] == "NERSC"
    assert haarflow("info", path) == 1 and "--lattice TxXxYxZ --group su3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"), [({"lattice": (2, 2, 2, 4)}, "holds the lattice"), ({"group": 2}, r"SU\(3\)")]
)
@pytest.mark.parametrize("name", ["ildg", "nersc", "openqcd", "hirep"])
def test_lattice_and_group_must_agree_with_the_file(tiny_files, tmp_path, name, words, message):
    path = twins.stored(tmp_path, tiny_files[name])
    assert gauge_info(path, lattice=(2, 2, 2, 2), group="SU(3)").agrees
    with pytest.raises(GaugeFileError, match=message):
        gauge_info(path, **words)


@pytest.mark.parametrize(
    "words", [{"group": "su1"}, {"group": "so3"}, {"group": 0}, {"lattice": (4,)}, {"lattice": (0, 4)}]
)
def test_words_that_are_no_lattice_or_group(tiny_files, tmp_path, words):
    with pytest.raises(ValueError, match=r"a group is|a lattice"):
        gauge_info(twins.stored(tmp_path, tiny_files["ildg"]), **words)


# ---- fewer dimensions and U(1)


@pytest.mark.parametrize("lattice", [(3, 2), (2, 4, 3), (2, 1, 3, 2)])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_u1_angles_come_back_in_any_dimension(tmp_path, lattice, precision):
    d = len(lattice)
    angles = numpy.random.default_rng(5).uniform(-20, 20, (d, *lattice)).astype(precision)
    written = write_gauge(tmp_path / "u.lime", angles)
    found, report = read_gauge(tmp_path / "u.lime")
    assert written.precision == report.precision == precision and report.agrees and report.group == "U(1)"
    assert found.shape == angles.shape and found.dtype == "float64" and report.lattice == lattice
    assert abs(numpy.exp(1j * found) - numpy.exp(1j * angles)).max() < (1e-14 if precision == "float64" else 4e-6)
    mean = numpy.cos(plaquettes(angles.astype(float), d)).mean()
    assert report.plaquette == pytest.approx(mean, abs=1e-14 if precision == "float64" else 1e-6)
    assert report.plaquette == pytest.approx(float(U1Gauge(lattice).observables(found)["plaquette"]), abs=1e-6)


@pytest.mark.parametrize("lattice", [(3, 2), (2, 4, 3)])
def test_links_come_back_in_fewer_dimensions(tmp_path, lattice):
    field = drawn(lattice, 2)
    write_gauge(tmp_path / "u.lime", field)
    links, report = read_gauge(tmp_path / "u.lime")
    assert (links == field).all() and report.checksum == "agrees" and report.lattice == lattice
    assert report.plaquette == pytest.approx(float(SUNGauge(lattice, 2).observables(field)["plaquette"]), abs=1e-14)
    assert convert_gauge(tmp_path / "u.lime", tmp_path / "v.ildg").target.plaquette == report.plaquette
    with pytest.raises(ValueError, match="use ildg"):
        convert_gauge(tmp_path / "u.lime", tmp_path / "v.nersc")


def test_the_bytes_of_a_two_dimensional_u1_field(tmp_path):
    """[t][x][mu], mu = x, t, as e^{i theta}, big-endian; ildg-format without ly and lz, field u1gauge."""
    angles = numpy.random.default_rng(5).uniform(-3, 3, (2, 3, 4))
    write_gauge(tmp_path / "u.lime", angles)
    texts = {kind: payload for kind, payload, _ in twins.lime_records((tmp_path / "u.lime").read_bytes())}
    numbers = [
        part
        for t, x, mu in itertools.product(range(3), range(4), (1, 0))
        for part in (numpy.cos(angles[mu, t, x]), numpy.sin(angles[mu, t, x]))
    ]
    assert numpy.frombuffer(texts["ildg-binary-data"], ">f8") == pytest.approx(numbers, abs=1e-15)
    assert b"<field>u1gauge</field><precision>64</precision><lx>4</lx><lt>3</lt></ildgFormat>" in texts["ildg-format"]


def test_scidac_files_of_fewer_dimensions(tmp_path):
    field = drawn((2, 3), 2)
    write_gauge(tmp_path / "u.lime", field)
    data = twins.lime_records((tmp_path / "u.lime").read_bytes())[1][1]
    path = twins.stored(
        tmp_path,
        twins.lime_file(
            ("scidac-private-file-xml", b"<scidacFile><dims>3 2 </dims></scidacFile>"),
            ("scidac-private-record-xml", b"<r><precision>D</precision><colors>2</colors><datacount>2</datacount></r>"),
            ("scidac-binary-data", data),
        ),
    )
    assert (read_gauge(path).links == field).all()


def test_every_backend_reads_and_writes_angles(backend, tmp_path):
    angles = numpy.random.default_rng(2).uniform(-3, 3, (2, 4, 3))
    write_gauge(tmp_path / "u.lime", backend.asarray(angles))
    found = read_gauge(tmp_path / "u.lime", backend).links
    assert type(found) is type(backend.asarray(angles)) and abs(backend.to_numpy(found) - angles).max() < 1e-14
    single = backends.get("numpy", None, "float32")
    assert read_gauge(tmp_path / "u.lime", single).links.dtype == "float32"
