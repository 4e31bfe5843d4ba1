"""Gauge-field files: bytes against site-by-site twins, round trips, every kind of damage, and the memory they take."""

import json
import tracemalloc

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import haarflow as library
from haarflow.core.groups.sun import SU
from haarflow.core.lattice.loops import gauge_transform, plaquettes
from haarflow.gaugefiles import convert_gauge, from_layout, gauge_info, read_gauge, to_layout
from haarflow.gaugefiles import write_gauge as write
from haarflow.gaugefiles.checksums import combine_add, combine_xor, milc, nersc, scidac
from haarflow.gaugefiles.formats.table import WRITABLE, recognised
from haarflow.gaugefiles.plaquette import Passing, measured, passed
from haarflow.gaugefiles.unitarity import completed, defects, projected
from tests.support import gauge_twins as twins
from tests.support.runs import haarflow

LATTICE = (4, 2, 6, 2)
EVERY = sorted(WRITABLE)


@pytest.fixture(scope="module")
def links():
    """One random SU(3) field with four different extents of sites but for two."""
    return twins.random_links(numpy.random.default_rng(5), LATTICE)


# ---- bytes


def test_ildg_bytes_are_those_of_the_twin(links, tmp_path):
    write(tmp_path / "u.lime", links, metadata={"ildg-data-lfn": "lfn://haarflow/u.1"})
    sites = twins.packed(links, ">", "d", 3)
    found = twins.lime_records((tmp_path / "u.lime").read_bytes())
    kinds = [kind for kind, _, _ in found]
    assert kinds == ["ildg-format", "ildg-binary-data", "scidac-checksum", "scidac-record-xml", "ildg-data-lfn"]
    assert [bits for _, _, bits in found] == [0x8000, 0, 0, 0, 0x4000]
    texts = {kind: payload.decode() for kind, payload, _ in found if kind != "ildg-binary-data"}
    assert found[1][1] == b"".join(sites)
    a, b = twins.scidac_sums(sites)
    assert f"<suma>{a:08x}</suma><sumb>{b:08x}</sumb>" in texts["scidac-checksum"]
    assert (
        "<field>su3gauge</field><precision>64</precision><lx>2</lx><ly>6</ly><lz>2</lz><lt>4</lt>"
        in texts["ildg-format"]
    )
    assert texts["ildg-data-lfn"] == "lfn://haarflow/u.1"


@pytest.mark.parametrize("rows, word", [(2, "nersc"), (3, "nersc-3x3")])
@pytest.mark.parametrize("order, name", [(">", "big"), ("<", "little")])
@pytest.mark.parametrize("kind, precision", [("d", "float64"), ("f", "float32")])
def test_nersc_bytes_are_those_of_the_twin(links, tmp_path, rows, word, order, name, kind, precision):
    write(tmp_path / "u", links, word, precision=precision, byte_order=name)
    head, _, data = (tmp_path / "u").read_bytes().partition(b"END_HEADER\n")
    assert data == b"".join(twins.packed(links, order, kind, rows))
    lines = dict(line.split(" = ") for line in head.decode().splitlines()[1:])
    assert lines["DATATYPE"] == ("4D_SU3_GAUGE" if rows == 2 else "4D_SU3_GAUGE_3x3")
    assert [lines[f"DIMENSION_{i}"] for i in (1, 2, 3, 4)] == ["2", "6", "2", "4"]
    assert lines["FLOATING_POINT"] == f"IEEE{precision[5:]}{name.upper()}"
    assert int(lines["CHECKSUM"], 16) == twins.word_sums(data, order)[0]
    assert float(lines["PLAQUETTE"]) == pytest.approx(twins.plaquette(links), abs=1e-14)
    assert float(lines["LINK_TRACE"]) == pytest.approx(twins.link_trace(links), abs=1e-14)


def test_openqcd_bytes_are_those_of_the_twin(links, tmp_path):
    write(tmp_path / "u.openqcd", links)
    found, wanted = (tmp_path / "u.openqcd").read_bytes(), twins.openqcd_file(links)
    assert found[:16] == wanted[:16] and found[24:] == wanted[24:]
    mean = numpy.frombuffer(found[16:24], "<f8")[0]
    assert mean == pytest.approx(3 * twins.plaquette(links), abs=1e-13)


@pytest.mark.parametrize("name", ["ildg", "ildg-32", "nersc", "nersc-3x3", "openqcd", "milc", "milc-big", "hirep"])
def test_what_the_twin_wrote_is_read(links, tmp_path, name):
    path = twins.stored(tmp_path, twins.files_of(links)[name])
    found, report = read_gauge(path)
    single = name in ("ildg-32", "nersc-3x3", "milc", "milc-big")
    assert found.shape == links.shape and abs(found - links).max() < (1e-7 if single else 2e-15)
    assert report.agrees and report.lattice == LATTICE and report.group == "SU(3)"
    assert report.precision == ("float32" if single else "float64") and report.projected == single
    assert report.plaquette == pytest.approx(twins.plaquette(links), abs=1e-7 if single else 1e-14)
    assert report.link_trace == pytest.approx(twins.link_trace(links), abs=1e-7 if single else 1e-14)
    assert report.checksum == ("none" if name in ("openqcd", "hirep") else "agrees")
    assert max(defects(found.reshape(4, 3, 3, -1))) < 4e-15
    assert (1e-9 if single else 1e-17) < report.unitarity_defect < (1e-6 if single else 1e-14)


@pytest.mark.parametrize(
    "word, order, certain",
    [("BIG", ">", True), ("LITTLE", "<", True), ("SMALL", "<", True), ("", "<", False), ("", ">", False)],
)
@pytest.mark.parametrize("kind, bits", [("f", 32), ("d", 64)])
def test_every_word_for_the_byte_order(tiny, tmp_path, word, order, certain, kind, bits):
    path = twins.stored(tmp_path, twins.nersc_file(tiny, 2, f"IEEE{bits}{word}", order, kind))
    found, report = read_gauge(path)
    assert abs(found - tiny).max() < 1e-6 and report.byte_order == {">": "big", "<": "little"}[order]
    assert any("byte order determined" in note for note in report.notes) == (not certain and order == ">")


def test_no_name_tells_the_format(tiny_files, tmp_path):
    titles = {"ildg": "ildg", "nersc": "nersc", "openqcd": "openqcd", "milc": "milc", "hirep": "hirep"}
    for name, data in tiny_files.items():
        assert recognised(twins.stored(tmp_path, data, "wrong.nersc")) == titles[name.split("-")[0]]
    assert recognised(twins.stored(tmp_path, b"")) is None and recognised(tmp_path / "absent") is None


# ---- round trips


@given(
    extents=st.tuples(*[st.sampled_from((1, 2, 3, 4))] * 4),
    n=st.sampled_from((2, 3, 4)),
    word=st.sampled_from(("ildg", "nersc", "nersc-3x3")),
    precision=st.sampled_from(("float64", "float32")),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trips_in_any_size_and_group(tmp_path_factory, extents, n, word, precision, seed):
    field = twins.random_links(numpy.random.default_rng(seed), extents, n)
    path = tmp_path_factory.mktemp("trip") / "u"
    written = write(path, field, word, precision=precision)
    found, report = read_gauge(path)
    assert abs(found - field).max() < (3e-15 if precision == "float64" else 3e-7)
    assert report.group == f"SU({n})" and report.lattice == extents
    assert written.plaquette == pytest.approx(report.plaquette, abs=1e-6)


@given(extents=st.tuples(*[st.sampled_from((2, 4, 6))] * 4), seed=st.integers(0, 2**32 - 1))
def test_openqcd_round_trips_bit_for_bit(tmp_path_factory, extents, seed):
    field = twins.random_links(numpy.random.default_rng(seed), extents)
    path = tmp_path_factory.mktemp("trip") / "u.openqcd"
    write(path, field)
    assert (read_gauge(path).links == field).all()


@pytest.mark.parametrize("source", EVERY)
@pytest.mark.parametrize("goal", EVERY)
def test_all_conversions(links, tmp_path, source, goal):
    write(tmp_path / "a", links, source)
    done = convert_gauge(tmp_path / "a", tmp_path / "b", goal)
    assert done.source.agrees and done.target.format.lower().startswith(goal[:4])
    assert abs(read_gauge(tmp_path / "b").links - links).max() < 2e-15
    if source == goal != "nersc":
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_single_precision_is_projected_and_said_so(links, tmp_path):
    path = twins.stored(tmp_path, twins.milc_file(links))
    found, report = read_gauge(path)
    assert report.projected and "projected onto SU(3)" in " ".join(report.notes)
    assert any("reading projects the links onto SU(3)" in note for note in gauge_info(path).notes)
    raw, plain = read_gauge(path, project=False)
    assert not plain.projected and 1e-8 < defects(raw.reshape(4, 3, 3, -1))[0] == plain.unitarity_defect < 1e-6
    assert 0 < abs(found - raw).max() < 2e-7
    done = convert_gauge(path, tmp_path / "u.lime")
    assert done.source.projected and done.target.precision == "float64"
    assert (read_gauge(tmp_path / "u.lime").links == found).all()
    assert convert_gauge(path, tmp_path / "v.lime", project=False).target.precision == "float32"
    assert (read_gauge(tmp_path / "v.lime", project=False).links == raw).all()


def test_metadata_goes_along(links, tmp_path):
    write(tmp_path / "a.nersc", links, metadata={"ENSEMBLE_ID": "mine", "SEQUENCE_NUMBER": "12"})
    convert_gauge(tmp_path / "a.nersc", tmp_path / "b.nersc")
    assert read_gauge(tmp_path / "b.nersc").report.metadata["ENSEMBLE_ID"] == "mine"
    assert convert_gauge(tmp_path / "a.nersc", tmp_path / "c.lime").target.metadata == {}
    convert_gauge(tmp_path / "a.nersc", tmp_path / "c.lime", metadata={"ildg-data-lfn": "lfn://c"})
    assert read_gauge(tmp_path / "c.lime").report.metadata == {"ildg-data-lfn": "lfn://c"}


def test_every_backend_reads_and_writes(backend, tiny, tmp_path):
    write(tmp_path / "a.lime", tiny)
    found, report = read_gauge(tmp_path / "a.lime", backend)
    assert report.agrees and type(found) is type(backend.asarray(tiny))
    assert (backend.to_numpy(found) == tiny).all()
    write(tmp_path / "b.lime", found)
    assert (tmp_path / "a.lime").read_bytes() == (tmp_path / "b.lime").read_bytes()


def test_other_habits_of_lime_files(links, tmp_path):
    mean = twins.plaquette(links)
    extra = [("xlf-info", f"plaquette = {mean:.14e}\n trajectory nr = 3\n beta = 6.0".encode())]
    report = read_gauge(twins.stored(tmp_path, twins.ildg_file(links, extra=extra))).report
    assert [check.name for check in report.checks][:2] == ["checksum", "plaquette"]
    bare = twins.lime_file(*[record[:2] for record in twins.lime_records(twins.ildg_file(links))][:2])
    assert read_gauge(twins.stored(tmp_path, bare)).report.checksum == "none"
    t, x, y, z = LATTICE
    scidac_file = twins.lime_file(
        ("scidac-private-file-xml", f"<scidacFile><dims>{x} {y} {z} {t} </dims></scidacFile>".encode()),
        ("scidac-file-xml", b"<any/>"),
        (
            "scidac-private-record-xml",
            b"<scidacRecord><precision>D</precision><colors>3</colors><datacount>4</datacount></scidacRecord>",
        ),
        (
            "scidac-record-xml",
            b"<usqcdInfo><plaq>%.6f</plaq><linktr>%.6f</linktr></usqcdInfo>" % (mean, twins.link_trace(links)),
        ),
        ("scidac-binary-data", b"".join(twins.packed(links, ">", "d", 3))),
    )
    found, report = read_gauge(twins.stored(tmp_path, scidac_file))
    assert (found == links).all() and {"plaquette", "link trace"} <= {check.name for check in report.checks}


# ---- what is measured


@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from((2, 3, 4)))
def test_streamed_plaquette_is_that_of_the_loops(seed, n):
    field = twins.random_links(numpy.random.default_rng(seed), (3, 2, 1, 4), n)
    state = Passing()
    for t in range(3):
        state = passed(state, field[:, :, :, t])
    found = measured(state)
    traces = numpy.einsum("paa...->p...", plaquettes(field, 4, SU(n, d=4))).real
    assert found.plaquette == pytest.approx(traces.mean() / n, abs=1e-14)
    assert found.plaquette == pytest.approx(twins.plaquette(field), abs=1e-14)
    assert found.link_trace == pytest.approx(twins.link_trace(field), abs=1e-14)


def test_the_plaquette_of_a_file_does_not_depend_on_the_gauge(tiny, tmp_path):
    turn = twins.random_links(numpy.random.default_rng(3), (2, 2, 2, 2))[0]
    write(tmp_path / "a.lime", tiny)
    write(tmp_path / "b.lime", gauge_transform(tiny, turn, 4, SU(3, d=4)))
    a, b = gauge_info(tmp_path / "a.lime"), gauge_info(tmp_path / "b.lime")
    assert a.plaquette == pytest.approx(b.plaquette, abs=1e-14) and abs(a.link_trace - b.link_trace) > 1e-3


@given(data=st.binary(min_size=8, max_size=240), cut=st.integers(0, 60))
def test_checksums_are_those_of_the_twin_and_combine(data, cut):
    data = data[: len(data) // 8 * 8]
    sites = numpy.frombuffer(data, numpy.uint8).reshape(-1, 8)
    words = numpy.frombuffer(data, ">u4").astype(numpy.uint32)
    assert scidac(sites, 0) == twins.scidac_sums([data[i : i + 8] for i in range(0, len(data), 8)])
    total, a, b = twins.word_sums(data, ">")
    assert nersc(words) == (total,) and milc(words, 0) == (a, b)
    at = cut % len(sites)
    if at:
        assert combine_xor(scidac(sites[:at], 0), scidac(sites[at:], at)) == scidac(sites, 0)
        assert combine_xor(milc(words[:at], 0), milc(words[at:], at)) == (a, b)
        assert combine_add(nersc(words[:at]), nersc(words[at:])) == (total,)


@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from((2, 3, 4)), size=st.sampled_from((1e-9, 1e-7, 1e-3, 1e-2)))
def test_projection_is_near_idempotent_and_that_of_the_group(seed, n, size):
    generator = numpy.random.default_rng(seed)
    field = twins.random_links(generator, (2, 1, 1, 1), n)[..., 0, 0, 0]
    off = field + size * (generator.normal(size=field.shape) + 1j * generator.normal(size=field.shape)) / 4
    found = projected(off)
    assert max(defects(found)) < 5e-15 and abs(projected(found) - found).max() < 5e-15
    assert abs(found - field).max() < 3 * n * size + 1e-14
    u, _, v = numpy.linalg.svd(numpy.moveaxis(off, (1, 2), (-2, -1)))
    polar = u @ v
    phase = numpy.exp(-1j / n * numpy.angle(numpy.linalg.det(polar)))[..., None, None]
    assert abs(numpy.moveaxis(polar * phase, (-2, -1), (1, 2)) - found).max() < 1e-13


@pytest.mark.parametrize("n", [2, 3])
def test_missing_rows_are_completed(n):
    field = twins.random_links(numpy.random.default_rng(1), (2, 2, 1, 1), n)
    assert abs(completed(field[:, : n - 1]) - field).max() < 1e-15


# ---- memory


def peak(work):
    """The most memory that `work` held beyond what was there before, in bytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("word", ["ildg", "openqcd"])
def test_memory_for_reading_info_and_converting(tmp_path, word):
    slices = 28
    field = numpy.zeros((4, 3, 3, slices, 8, 4, 4), numpy.complex128) + numpy.eye(3).reshape(1, 3, 3, 1, 1, 1, 1)
    size, slab = field.nbytes, field.nbytes / slices
    writing = peak(lambda: write(tmp_path / "u", field, word))
    reading = peak(lambda: read_gauge(tmp_path / "u"))
    info = peak(lambda: gauge_info(tmp_path / "u"))
    converting = peak(lambda: convert_gauge(tmp_path / "u", tmp_path / "v", "ildg"))
    assert reading < 1.3 * size
    assert info < 8 * slab and converting < 12 * slab and writing < 8 * slab


# ---- layouts


@pytest.mark.parametrize("layout", ["mu,t,z,y,x,a,b", "mu,x,y,z,t,a,b", "t,z,y,x,mu,a,b", "[x, y, z, t, mu, b, a]"])
@pytest.mark.parametrize("directions", ["xyzt", "txyz"])
def test_layouts_hold_the_same_link_at_their_own_place(backend, links, layout, directions):
    ours = backend.asarray(links)
    theirs = to_layout(ours, layout, directions)
    assert (backend.to_numpy(from_layout(theirs, layout, directions)) == links).all()
    names = [name.strip() for name in layout.strip("[]").split(",")]
    place = {"t": 3, "x": 1, "y": 4, "z": 0, "a": 0, "b": 2}
    for mu, word in enumerate("txyz"):
        at = tuple({**place, "mu": directions.index(word)}[name] for name in names)
        assert backend.to_numpy(theirs)[at] == links[mu, 0, 2, 3, 1, 4, 0]


def test_layouts_with_batches_and_fewer_dimensions():
    field = numpy.random.default_rng(1).normal(size=(5, 2, 3, 3, 4, 6))
    found = to_layout(field, "x,t,mu,a,b")
    assert found.shape == (5, 6, 4, 2, 3, 3) and (found[:, :, :, 0] == field[:, 1].transpose(0, 4, 3, 1, 2)).all()
    assert (from_layout(found, "x,t,mu,a,b") == field).all()


@pytest.mark.parametrize("name", ["mu,t,z,y,x,a", "mu,a,b,x,y", "mu,mu,a,b,t,x", "mu,t,x,y,z,a,c", ""])
def test_names_that_are_no_layout(links, name):
    with pytest.raises(ValueError, match="a layout is an order of"):
        to_layout(links, name)


def test_layouts_that_do_not_fit(links):
    with pytest.raises(ValueError, match="directions are an order of"):
        to_layout(links, "mu,t,z,y,x,a,b", "xyz")
    with pytest.raises(ValueError, match="has 7 axes"):
        from_layout(links[0], "mu,t,z,y,x,a,b")


# ---- command line


def printed(capsys, *words, code=0):
    """What a verb prints as JSON."""
    capsys.readouterr()
    assert haarflow(*words, "--json") == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["ildg", "nersc", "openqcd", "milc", "hirep"])
def test_info_tells_what_a_gauge_file_holds(tiny, tiny_files, tmp_path, capsys, name):
    path = twins.stored(tmp_path, tiny_files[name], "u.1000")
    found = printed(capsys, "info", path)
    assert found["lattice"] == [2, 2, 2, 2] and found["group"] == "SU(3)" and found["agrees"]
    assert found["plaquette"] == pytest.approx(twins.plaquette(tiny), abs=1e-6)
    assert found["checksum"] == ("none" if name in ("openqcd", "hirep") else "agrees")
    assert {"format", "precision", "byte_order", "link_trace", "unitarity_defect", "checks"} <= set(found)
    assert haarflow("info", path) == 0
    assert f"plaquette: {found['plaquette']}" in capsys.readouterr().out


def test_info_fails_on_damage_and_says_what_to_do(tiny, tmp_path, capsys):
    path = twins.stored(tmp_path, twins.nersc_file(tiny, CHECKSUM="1"))
    found = printed(capsys, "info", path, code=1)
    assert found["checksum"] == "disagrees" and "fetch it again" in found["remedy"]
    assert haarflow("info", twins.stored(tmp_path, twins.nersc_file(tiny)[:-1])) == 1
    assert "cut short by 1 bytes" in capsys.readouterr().err
    assert haarflow("info", twins.stored(tmp_path, b"nothing", "u.lime")) == 1
    assert "not a gauge file" in capsys.readouterr().err


def test_convert_on_the_command_line(tiny, tiny_files, tmp_path, capsys):
    path = twins.stored(tmp_path, tiny_files["milc"])
    found = printed(capsys, "convert", path, tmp_path / "u.lime")
    assert found["read"]["projected"] and found["written"]["format"] == "ILDG/LIME"
    assert (
        haarflow("convert", tmp_path / "u.lime", tmp_path / "u.dat", "--format", "nersc-3x3", "--precision", "float32")
        == 0
    )
    assert b"4D_SU3_GAUGE_3x3" in (tmp_path / "u.dat").read_bytes()
    assert haarflow("convert", tmp_path / "u.lime", tmp_path / "v.dat") == 1
    assert "is not that of a format" in capsys.readouterr().err


def test_the_face_offers_them(tiny, tmp_path):
    library.write_gauge(tmp_path / "u.lime", tiny)
    assert library.gauge_info(tmp_path / "u.lime") == library.read_gauge(tmp_path / "u.lime").report
    assert library.convert_gauge(tmp_path / "u.lime", tmp_path / "v.nersc").target.format == "NERSC"
