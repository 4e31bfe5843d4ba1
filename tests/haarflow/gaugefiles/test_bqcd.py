"""BQCD's own format: the text and the time slices, written here line by line and number by number."""

import itertools
import os
import struct

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarflow.gaugefiles import GaugeFileError, convert_gauge, gauge_info, read_gauge, recognised
from tests.haarflow.gaugefiles.test_gaugefiles import printed
from tests.haarflow.gaugefiles.test_other_codes import drawn
from tests.support import gauge_twins as twins


def slice_bytes(links, t):
    """One time slice, `do z, y, x, mu, column, row` with the innermost last, two columns of three, big-endian."""
    _, _, _, _, nx, ny, nz = links.shape
    numbers = []
    for z, y, x, mu, column, row in itertools.product(
        range(nz), range(ny), range(nx), (1, 2, 3, 0), range(2), range(3)
    ):
        entry = links[mu, row, column, t, x, y, z]
        numbers += [entry.real, entry.imag]
    return struct.pack(f">{len(numbers)}d", *numbers)


def written(folder, links, **changes):
    """Write a configuration as BQCD does; `changes` replace or, with None, remove lines. Returns the path of the text."""
    _, _, _, t, x, y, z = links.shape
    lines = {
        "Format": "          3",
        "Program": "bqcd benchmark2",
        "Traj": "        120",
        "L": f"{x:3d}{y:3d}{z:3d}{t:3d}",
        "bc_fermions": "  1  1  1 -1",
        "REAL_kind": "          8",
        "PlaqEnergy": f"{1 - twins.plaquette(links):25.14E}",
        "beta": "5.29",
        "former_beta": "5.40",
        **changes,
    }
    sums = []
    for number in range(t):
        name, data = f"bqcd.001.1.1.00120.{number:02d}.u", slice_bytes(links, number)
        (folder / name).write_bytes(data)
        sums.append(f" {name}  {twins.cksum(data):20d} {len(data):20d}")
    text = [" >BeginConfInfoHeader", *(f" {word} {value}" for word, value in lines.items() if value is not None)]
    text += [" >EndConfInfoHeader", " >BeginCheckSum", *sums, " >EndCheckSum", ""]
    path = folder / "bqcd.001.1.1.00120.info"
    path.write_text("\n".join(text))
    return path


@pytest.mark.parametrize("lattice", [(2, 2, 2, 2), (3, 4, 1, 2)])
def test_the_links_of_a_configuration_of_bqcd(tmp_path, capsys, lattice):
    field = drawn(lattice)
    path = written(tmp_path, field)
    links, report = read_gauge(path)
    assert recognised(path) == "bqcd" and report.format == "BQCD" and report.lattice == lattice
    assert abs(links - field).max() < 1e-14 and report.checksum == "agrees" and report.notes == ()
    assert {check.name for check in report.checks if check.agrees} == {
        "checksum", "plaquette", "unitarity", "determinant",
    }  # fmt: skip
    assert report.metadata == {"Traj": "120", "beta": "5.29"} and gauge_info(path).checks == report.checks
    convert_gauge(path, tmp_path / "u.lime")
    assert (read_gauge(tmp_path / "u.lime").links == links).all()
    assert printed(capsys, "info", path)["lattice"] == list(lattice)


def test_lines_that_fortran_broke_are_read(tmp_path):
    field = drawn((2, 2, 2, 2))
    path = written(tmp_path, field)
    path.write_text(path.read_text().replace(".u ", ".u\n  "))
    assert abs(read_gauge(path).links - field).max() < 1e-14


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"L": None}, "4 whole numbers were wanted for L"),
        ({"L": "2 2 2 4"}, "for each of 4 time slices"),
        ({"L": "2 2 2 x"}, "L in the header must be an integer"),
        ({"L": "4 2 2 2"}, "a time slice of 2x4x2x2"),
        ({"REAL_kind": "4"}, "double precision"),
        ({"PlaqEnergy": "0.1"}, "plaquette: recorded 0.9, found"),
    ],
)
def test_every_fault_of_the_text_has_its_sentence(tmp_path, changes, words):
    path = written(tmp_path, drawn((2, 2, 2, 2)), **changes)
    with pytest.raises(GaugeFileError, match=words) as error:
        read_gauge(path)
    assert str(path) in str(error.value)


def test_a_plaquette_that_is_no_number_is_noted(tmp_path):
    report = read_gauge(written(tmp_path, drawn((2, 2, 2, 2)), PlaqEnergy="*****")).report
    assert "PlaqEnergy was not used" in report.notes[0] and report.checksum == "agrees"
    assert read_gauge(written(tmp_path, drawn((2, 2, 2, 2)), PlaqEnergy=None)).report.notes == ()


def test_faults_of_the_slices(tmp_path):
    path = written(tmp_path, drawn((3, 2, 2, 2)))
    last, text = tmp_path / "bqcd.001.1.1.00120.02.u", path.read_text()
    whole = last.read_bytes()
    last.write_bytes(bytes([whole[0], whole[1], whole[2] ^ 1, *whole[3:]]))
    with pytest.raises(GaugeFileError, match=r"checksum: recorded \w{8}, found \w{8}: bytes have changed"):
        read_gauge(path)
    for data in (whole[:-8], whole + bytes(8)):
        last.write_bytes(data)
        with pytest.raises(GaugeFileError, match=r"has 3072 bytes, bqcd[.0-9]*u has"):
            read_gauge(path)
    last.unlink()
    with pytest.raises(GaugeFileError, match="u is missing: it belongs"):
        read_gauge(path)
    os.mkfifo(last)
    with pytest.raises(GaugeFileError, match="is a pipe"):
        read_gauge(path)
    for name in ("../bqcd.001.1.1.00120.02.u", "/etc/hostname", "bqcd.001.1.1.00120.01.u"):
        path.write_text(text.replace("bqcd.001.1.1.00120.02.u", name))
        with pytest.raises(GaugeFileError, match=r"in the same folder|a file for each of 3"):
            read_gauge(path)
    path.write_text(text + " " * (1 << 20))
    with pytest.raises(GaugeFileError, match="at most 1048576 bytes"):
        read_gauge(path)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    field = drawn((2, 2, 2, 2))
    path = written(tmp_path_factory.mktemp("bqcd"), field)
    return field, path, path.read_bytes()


@given(data=st.data())
def test_any_bytes_in_the_text_give_the_links_or_one_error(configuration, data):
    field, path, whole = configuration
    broken = bytearray(whole[: data.draw(st.integers(0, 3)) * 200 or None])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(broken) - 1))
        broken[place] = data.draw(st.sampled_from((0, 10, 32, 47, 50, 178, 255)) | st.integers(0, 255))
    path.write_bytes(bytes(broken))
    try:
        found = read_gauge(path).links
    except GaugeFileError:
        return
    assert numpy.abs(found - field).max() < 1e-14
