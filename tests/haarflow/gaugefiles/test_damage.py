"""Gauge files that are cut, flipped, swapped, contradictory or of another group: one clear error each."""

from contextlib import nullcontext

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarflow.core import files
from haarflow.gaugefiles import GaugeFileError, convert_gauge, gauge_info, read_gauge, to_layout
from haarflow.gaugefiles import write_gauge as write
from tests.support import gauge_twins as twins


@given(data=st.data())
def test_a_file_cut_anywhere_is_refused(tiny_files, tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(tiny_files)))
    whole = tiny_files[name]
    kept = data.draw(st.integers(0, len(whole) - (8 if name.startswith("ildg") else 1)))  # padding may be missing
    boundary = name.startswith("ildg") and kept == whole.index(b"scidac-checksum") - 16
    path = twins.stored(tmp_path_factory.mktemp("cut"), whole[:kept])
    with (
        pytest.raises(GaugeFileError, match=r"cut short|not a gauge file|big-endian|is empty|no links")
        if not boundary
        else nullcontext()
    ):
        read_gauge(path)


def test_a_lime_file_cut_between_records_is_noted(tiny, tmp_path):
    whole = twins.ildg_file(tiny)
    report = read_gauge(twins.stored(tmp_path, whole[: whole.index(b"scidac-checksum") - 16])).report
    assert report.checksum == "none" and "may have been cut off" in report.notes[0]
    assert read_gauge(twins.stored(tmp_path, whole)).report.notes == ()


PLAIN = ("openqcd", "hirep")  # without a checksum


def links_of(name, whole):
    """Where the links of a file of `twins.files_of` begin and end."""
    if name.startswith("ildg"):
        return whole.index(b"ildg-binary-data") + 128, whole.index(b"scidac-checksum") - 16
    start = {"milc": 96, "openqcd": 24, "hirep": 28}.get(name.split("-")[0])
    return whole.index(b"END_HEADER\n") + 11 if start is None else start, len(whole)


@given(data=st.data())
def test_a_flipped_bit_in_the_links_is_found(tiny_files, tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(tiny_files)))
    whole = bytearray(tiny_files[name])
    start, end = links_of(name, bytes(whole))
    words = 4 if name in ("ildg-32", "nersc-3x3", "milc", "milc-big") else 8
    at = start + words * data.draw(st.integers(0, (end - start) // words - 1))
    # openQCD and HiRep have no checksum: there a high bit of the exponent
    place, bit = (
        (7 if name == "openqcd" else 0, 64)
        if name in PLAIN
        else (data.draw(st.integers(0, words - 1)), 1 << data.draw(st.integers(0, 7)))
    )
    whole[at + place] ^= bit
    path = twins.stored(tmp_path_factory.mktemp("bit"), bytes(whole))
    with pytest.raises(GaugeFileError, match=r"unitarity|checksum: recorded \w+"):
        read_gauge(path)
    report = gauge_info(path)
    assert not report.agrees and report.remedy
    assert report.checksum == ("none" if name in PLAIN else "disagrees")
    assert read_gauge(path, check=False).report.checks == report.checks or not numpy.isfinite(report.plaquette)


@given(data=st.data())
def test_any_bytes_in_a_header_give_the_links_or_one_error(tiny, tiny_files, tmp_path_factory, data):
    """Whatever the header says: a GaugeFileError, or the links that were written, and no other exception."""
    name = data.draw(st.sampled_from(sorted(tiny_files)))
    broken, (start, end) = bytearray(tiny_files[name]), links_of(name, tiny_files[name])
    places = st.one_of(st.integers(0, start - 1), st.integers(min(end, len(broken) - 1), len(broken) - 1))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(places)
        if not start <= place < end:
            broken[place] = data.draw(st.sampled_from((0, 32, 49, 50, 57, 178, 255)) | st.integers(0, 255))
    path = twins.stored(tmp_path_factory.mktemp("fuzz"), bytes(broken))
    try:
        found = read_gauge(path).links
    except GaugeFileError:
        return
    assert abs(found - tiny).max() < 1e-6


@pytest.mark.parametrize(
    "make",
    [
        lambda u: twins.nersc_file(u, 2, "IEEE64BIG", "<", "d"),
        lambda u: twins.nersc_file(u, 3, "IEEE32LITTLE", ">", "f"),
        lambda u: twins.ildg_file(u, order="<"),
        lambda u: twins.ildg_file(u, kind="f", order="<"),
    ],
)
def test_links_in_the_other_byte_order_are_said_so(tiny, tmp_path, make):
    path = twins.stored(tmp_path, make(tiny))
    with pytest.raises(GaugeFileError, match=r"stored in the other byte order.*byte_order="):
        read_gauge(path)
    report = gauge_info(path)
    assert report.checks[0].name == "byte order" and report.remedy.count("recorded") == 1
    order = report.checks[0].found
    assert abs(read_gauge(path, byte_order=order).links - tiny).max() < 1e-6
    with pytest.raises(ValueError, match="big or little"):
        read_gauge(path, byte_order="middle")


def test_another_number_of_colours_is_refused(tiny, tmp_path):
    two = twins.random_links(numpy.random.default_rng(2), (2, 2, 2, 2), 2)
    for data in (
        twins.ildg_file(two, field="su3gauge"),
        twins.ildg_file(tiny, field="su4gauge"),
        twins.nersc_file(two, 2, DATATYPE="4D_SU3_GAUGE_3x3"),
        twins.nersc_file(tiny, 3, DATATYPE="4D_SU3_GAUGE"),
        twins.nersc_file(tiny, 2, DATATYPE="4D_SU3_GAUGE_3x3"),
    ):
        with pytest.raises(GaugeFileError, match=r"another lattice, group or precision|cut short"):
            read_gauge(twins.stored(tmp_path, data))
    with pytest.raises(GaugeFileError, match=r"fits SU\(2\)"):
        read_gauge(twins.stored(tmp_path, twins.openqcd_file(two)))


def nersc_words(**changes):
    """A maker of NERSC files with changed header lines."""
    return lambda u: twins.nersc_file(u, **changes)


WRONG = [
    (nersc_words(PLAQUETTE="0.5881234"), "plaquette: recorded 0.5881234, found"),
    (nersc_words(LINK_TRACE="0.25"), "link trace: recorded 0.25, found"),
    (nersc_words(CHECKSUM="12345678"), "checksum: recorded 12345678, found"),
    (nersc_words(CHECKSUM="xyz"), "checksum: recorded unreadable ('xyz'), found"),
    (nersc_words(DATATYPE="4D_SU3_FERMION"), "DATATYPE 4D_SU3_GAUGE"),
    (nersc_words(DATATYPE="4D_SU3_GAUGE_3x2"), "one N >= 2"),
    (nersc_words(DATATYPE="4D_SU5_GAUGE"), "links of SU(5) on 2x2x2x2 (T X Y Z)"),
    (nersc_words(FLOATING_POINT="IEEE16"), "FLOATING_POINT IEEE32"),
    (nersc_words(FLOATING_POINT=None), "the line FLOATING_POINT"),
    (nersc_words(DIMENSION_3="-2"), "DIMENSION_3 in the header must be an integer >= 1"),
    (nersc_words(DIMENSION_3="\u00b2"), "DIMENSION_3 in the header must be an integer >= 1"),
    (lambda u: twins.nersc_file(u).replace(b"END_HEADER\n", b""), "no line END_HEADER"),
    (lambda u: twins.nersc_file(u) + b"\0", "1 too many"),
    (lambda u: twins.openqcd_file(u, ">"), "big-endian"),
    (lambda u: twins.openqcd_file(u) + b"1234", "4 too many"),
    (lambda u: b"\3\0\0\0" + twins.openqcd_file(u)[4:], "even extents"),
    (lambda u: twins.openqcd_file(u)[:16] + numpy.float64(1.5).tobytes() + twins.openqcd_file(u)[24:], "plaquette: "),
    (lambda u: twins.milc_file(u, arrangement=1), "lexicographic order"),
    (lambda u: twins.milc_file(u)[:90], "96-byte header"),
    (lambda u: twins.milc_file(u, magic=20104), "not a gauge file"),
    (
        lambda u: twins.lime_file(("ildg-format", b"<a/>")),
        "no links: wanted a record ildg-binary-data, got ildg-format",
    ),
    (lambda u: twins.lime_file(("ildg-binary-data", bytes(8))), "neither lattice nor group"),
    (lambda u: twins.lime_file(("ildg-format", b"<a><b>"), ("ildg-binary-data", bytes(8))), "holds no XML"),
    (lambda u: twins.lime_file(("ildg-format", b"<a/>"), ("ildg-binary-data", bytes(8))), "element field"),
    (lambda u: twins.ildg_file(u, field="adjoint"), "links of SU"),
    (lambda u: twins.ildg_file(u, field="su1gauge"), "links of SU"),
    (lambda u: twins.ildg_file(u).replace(b"<lx> 2", b"<lx> 4"), "take 18432 bytes"),
    (lambda u: twins.ildg_file(u).replace(b"<lx> 2", b"<lx> x"), "lx in the header must be an integer >= 1"),
    (lambda u: twins.ildg_file(u).replace(b"UTF-8", b"UTF-9"), "holds no XML"),
    (lambda u: twins.ildg_file(u).replace(b"<precision> 64", b"<precision> 16"), "precision 32 or 64"),
    (lambda u: twins.ildg_file(u) + b"garbage!" * 18, "no header at byte"),
    (lambda u: b"not a gauge file at all, but some text", "not a gauge file in one of the formats ILDG/LIME, NERSC"),
    (lambda u: b"", "is empty"),
]


@pytest.mark.parametrize("make, words", WRONG, ids=[words for _, words in WRONG])
def test_every_fault_has_its_sentence(tiny, tmp_path, make, words):
    path = twins.stored(tmp_path, make(tiny))
    with pytest.raises(GaugeFileError) as error:
        read_gauge(path)
    assert words in str(error.value) and str(path) in str(error.value)


def test_links_off_the_group(tiny, tmp_path):
    path = tmp_path / "u.lime"
    off = tiny * (1 + 1e-6)
    with pytest.raises(ValueError, match="project them first"):
        write(path, off)
    assert not path.exists() and not list(tmp_path.iterdir())
    write(path, off, check=False)
    with pytest.raises(GaugeFileError, match=r"unitarity: .*project=True"):
        read_gauge(path)
    found, report = read_gauge(path, project=True)
    assert report.projected and abs(found - tiny).max() < 1e-14
    phased = tiny.copy()
    phased[0, :, :, 1] *= -1
    write(path, phased, check=False)
    with pytest.raises(GaugeFileError, match=r"determinant: .*carry phases"):
        read_gauge(path)
    report = gauge_info(path)
    assert report.unitarity_defect < 1e-14 and report.determinant_defect == pytest.approx(2.0)
    write(path, 0 * tiny, check=False)
    with pytest.raises(GaugeFileError, match="open boundary"):
        read_gauge(path)
    with pytest.raises(ValueError, match="the file is damaged"):
        read_gauge(path, project=True)


def test_links_that_are_no_numbers_agree_with_nothing(tiny, tmp_path):
    broken = tiny.copy()
    broken[1, 2, 0, 1, 0, 1, 1] = numpy.nan
    with pytest.raises(ValueError, match="off by nan"):
        write(tmp_path / "u.openqcd", broken)
    write(tmp_path / "u.openqcd", broken, check=False)
    report = gauge_info(tmp_path / "u.openqcd")
    assert not any(check.agrees for check in report.checks) and len(report.checks) == 3
    with pytest.raises(GaugeFileError, match="unitarity: recorded 0, found nan"):
        read_gauge(tmp_path / "u.openqcd")


def test_what_cannot_be_written(tiny, tmp_path):
    odd = twins.random_links(numpy.random.default_rng(2), (2, 3, 2, 2))
    two = twins.random_links(numpy.random.default_rng(2), (2, 2, 2, 2), 2)
    for words, arguments in {
        "suffix of .*u.dat is not that of a format": (tiny, None),
        "MILC v5 files can be read but not written": (tiny, "milc"),
        "even extents": (odd, "openqcd"),
        r"store SU\(3\), got SU\(2\)": (two, "openqcd"),
        "of one configuration were wanted": (tiny[None], "ildg"),
        "from_layout": (to_layout(tiny[..., :1], "mu,t,z,y,x,a,b"), "ildg"),
        r"in four dimensions, got U\(1\) in 2 dimensions: use ildg": (numpy.zeros((2, 4, 4)), "nersc"),
        "as angles": (numpy.ones((2, 4, 4), complex), "ildg"),
    }.items():
        with pytest.raises(ValueError, match=words):
            write(tmp_path / "u.dat", *arguments)
    with pytest.raises(ValueError, match="not float32"):
        write(tmp_path / "u.openqcd", tiny, precision="float32")
    with pytest.raises(ValueError, match="not float64 in little"):
        write(tmp_path / "u.lime", tiny, byte_order="little")
    with pytest.raises(ValueError, match="store the metadata ildg-data-lfn; got lfn"):
        write(tmp_path / "u.lime", tiny, metadata={"lfn": "x"})
    with pytest.raises(ValueError, match="metadata must be one line each"):
        write(tmp_path / "u.nersc", tiny, metadata={"CREATOR": "me\nPLAQUETTE = 1"})
    with pytest.raises(FileNotFoundError):
        read_gauge(tmp_path / "absent.lime")
    assert not list(tmp_path.iterdir())


def test_a_failure_keeps_the_old_file(tiny, tmp_path, monkeypatch):
    write(tmp_path / "a.lime", tiny)
    old = (tmp_path / "a.lime").read_bytes()
    bad = twins.stored(tmp_path, twins.nersc_file(tiny, CHECKSUM="1"), "bad")
    with pytest.raises(GaugeFileError, match="checksum"):
        convert_gauge(bad, tmp_path / "a.lime")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "a.lime", tiny)
    assert (tmp_path / "a.lime").read_bytes() == old and {p.name for p in tmp_path.iterdir()} == {"a.lime", "bad"}
    monkeypatch.undo()
    assert convert_gauge(bad, tmp_path / "a.lime", check=False).source.checksum == "disagrees"
