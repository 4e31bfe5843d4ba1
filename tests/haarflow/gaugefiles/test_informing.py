"""What only informs never makes a good file unreadable; what it says is compared where it can be read."""

import numpy
import pytest

from haarflow.gaugefiles import GaugeFileError, gauge_info, read_gauge
from tests.support import gauge_twins as twins


def records_of(links):
    """The records of the twin's ILDG file: sizes, links, checksum."""
    return [record[:2] for record in twins.lime_records(twins.ildg_file(links))]


USQCD = "<usqcdInfo><version>1.0</version><plaq>{}</plaq></usqcdInfo>"
INFORMING = {
    "Latin-1 in xlf-info": [("xlf-info", "trajectory = 3\n user = gr\u00f6\u00dfe".encode("latin-1"))],
    "Latin-1 in a user's XML": [("scidac-record-xml", "Gr\u00f6\u00dfe".encode("latin-1"))],
    "an empty plaquette": [("scidac-record-xml", USQCD.format("").encode())],
    "a plaquette that is no number": [("scidac-record-xml", USQCD.format("nan").encode())],
    "text that mentions usqcdInfo": [("scidac-record-xml", b"see usqcdInfo")],
    "XML beyond 16 MiB": [("scidac-record-xml", b"<a>" + b" " * (1 << 24) + b"</a>")],
    "a private record that nobody needs": [("scidac-private-file-xml", b"\xff<no xml")],
    "BQCD's plaquette in words": [("bqcd-plaquette", b"unknown")],
    "a long file name": [("ildg-data-lfn", b"l" * ((1 << 24) + 1))],
}


@pytest.mark.parametrize("name", INFORMING)
@pytest.mark.parametrize("behind", [False, True])
def test_a_record_that_only_informs_is_no_reason_to_refuse(tiny, tmp_path, name, behind):
    good, extra = records_of(tiny), INFORMING[name]
    path = twins.stored(tmp_path, twins.lime_file(*(good + extra if behind else extra + good)))
    links, report = read_gauge(path)
    assert (links == tiny).all() and report.checksum == "agrees"
    silent = name.startswith(("Latin-1", "a private", "a long"))
    assert len(report.notes) == (0 if silent else 1) and gauge_info(path).notes == report.notes


@pytest.mark.parametrize("filling", [bytes(512), b"\n", b"\r\n" + bytes(200)])
def test_filling_behind_the_last_record_is_noted(tiny, tmp_path, filling):
    links, report = read_gauge(twins.stored(tmp_path, twins.ildg_file(tiny) + filling))
    assert (links == tiny).all()
    assert report.notes == (f"{len(filling)} bytes of zeros or blanks behind the last record",)
    with pytest.raises(GaugeFileError, match="no header at byte"):
        read_gauge(twins.stored(tmp_path, twins.ildg_file(tiny) + bytes(511) + b"x"))


def test_other_data_in_the_file_does_not_speak_for_the_links(tiny, tmp_path):
    """A SciDAC record with its own checksum, plaquette and sizes stands before the ILDG message, another behind it."""
    other = [
        ("scidac-private-record-xml", b"<scidacRecord><colors>1</colors></scidacRecord>"),
        ("scidac-record-xml", USQCD.format("0.9").encode()),
        ("scidac-binary-data", bytes(64)),
        ("scidac-checksum", twins.checksum_xml((5, 7))),
    ]
    for records in ([*other, *records_of(tiny)], [*records_of(tiny), *other], [*other, *records_of(tiny), *other]):
        links, report = read_gauge(twins.stored(tmp_path, twins.lime_file(*records)))
        assert (links == tiny).all() and report.checksum == "agrees"
        assert [check.name for check in report.checks] == ["checksum", "unitarity", "determinant"]


def test_the_first_of_several_configurations_is_read_with_its_own_records(tiny, tmp_path):
    rest = twins.random_links(numpy.random.default_rng(3), (2, 2, 2, 2))
    mean = USQCD.format(f"{twins.plaquette(rest):.12f}").encode()
    records = [*records_of(tiny), records_of(rest)[0], ("scidac-record-xml", mean), *records_of(rest)[1:]]
    links, report = read_gauge(twins.stored(tmp_path, twins.lime_file(*records)))
    assert (links == tiny).all() and report.notes == ("2 configurations in the file, this is the first",)
    assert "plaquette" not in [check.name for check in report.checks]


@pytest.mark.parametrize("text", [b"<scidacChecksum><suma>1</suma></scidacChecksum>", b"no XML", b"\xff" * 64])
def test_a_checksum_that_cannot_be_read_is_a_failed_check(tiny, tmp_path, text):
    path = twins.stored(tmp_path, twins.lime_file(*records_of(tiny)[:2], ("scidac-checksum", text)))
    with pytest.raises(GaugeFileError, match=r"checksum: recorded unreadable .* found [0-9a-f]{8} [0-9a-f]{8}"):
        read_gauge(path)
    links, report = read_gauge(path, check=False)
    assert (links == tiny).all() and report.checksum == "disagrees"


def test_the_checks_of_bqcd(tiny, tmp_path):
    """bqcd-cksum is what the command cksum prints for the links, bqcd-plaquette a bare number."""
    (sizes, (_, data)), mean = records_of(tiny)[:2], twins.plaquette(tiny)
    for value, sum_off, agrees in ((mean, 0, True), (mean, 1, False), (mean + 1e-5, 0, False)):
        word = f"{twins.cksum(data) ^ sum_off} {len(data)}".encode()
        texts = [("bqcd-plaquette", f"{value:25.14E}".encode()), ("bqcd-cksum", word)]
        path = twins.stored(tmp_path, twins.lime_file(sizes, ("ildg-binary-data", data), *texts))
        report = gauge_info(path)
        assert report.agrees == agrees and [check.name for check in report.checks][:2] == ["checksum", "plaquette"]
    assert twins.cksum(b"123456789") == 930766865  # printf 123456789 | cksum


@pytest.mark.parametrize("line", ["PLAQUETTE", "LINK_TRACE"])
@pytest.mark.parametrize("word", ["about one", "", "nan", "1e999999"])
def test_a_nersc_line_that_is_no_number_is_noted(tiny, tmp_path, line, word):
    links, report = read_gauge(twins.stored(tmp_path, twins.nersc_file(tiny, **{line: word})))
    assert abs(links - tiny).max() < 1e-14 and f"the line {line} was not used" in report.notes[0]
