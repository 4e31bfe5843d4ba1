"""QCDml beside an ILDG file: the schema's elements in their order, numbers from the file, faults in words."""

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import numpy
import pytest

from haarflow.gaugefiles import gauge_info, write_gauge
from haarflow.gaugefiles.qcdml import NAMESPACE, cksum, write_qcdml
from tests.support import gauge_twins as twins
from tests.support.runs import haarflow

WORDS = {
    "data_lfn": "lfn://here/u.1",
    "chain_uri": "mc://here/u",
    "series": "1",
    "update": 10,
    "name": "A. Person",
    "institution": "An institute",
    "machine": "a cluster",
    "machine_institution": "An institute",
    "machine_type": "CPU",
    "date": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture(scope="module")
def links():
    return twins.random_links(numpy.random.default_rng(6), (4, 2, 2, 2))


@pytest.fixture
def file(links, tmp_path):
    write_gauge(tmp_path / "u.lime", links)
    return tmp_path / "u.lime"


def names(element):
    """The names below an element without their namespace, nested."""
    return {child.tag.partition("}")[2]: names(child) or child.text for child in element}


def test_the_document_holds_the_words_and_what_the_file_says(file):
    root = ElementTree.parse(write_qcdml(file, WORDS)).getroot()
    assert root.tag == f"{{{NAMESPACE}}}gaugeConfiguration"
    found = names(root)
    assert list(found) == ["dataLFN", "management", "implementation", "algorithm", "precision", "markovSequence"]
    event = found["management"]["archiveHistory"]["archiveEvent"]
    assert list(event) == ["revisionAction", "participant", "date"] and event["participant"]["name"] == "A. Person"
    assert list(found["implementation"]["machine"]) == ["name", "institution", "machineType"]
    step = found["markovSequence"]["markovStep"]
    assert list(found["markovSequence"]) == ["markovChainURI", "series", "markovStep"] and step["update"] == "10"
    assert list(step["record"]) == ["field", "crcCheckSum", "avePlaquette"] and step["record"]["field"] == "su3gauge"
    assert float(step["record"]["avePlaquette"]) == pytest.approx(gauge_info(file).plaquette, abs=1e-12)
    assert found["precision"] == "double"


@pytest.mark.skipif(shutil.which("cksum") is None, reason="no cksum")
def test_the_checksum_is_that_of_the_command_over_the_links(file, links, tmp_path):
    (tmp_path / "data").write_bytes(b"".join(twins.packed(links, ">", "d", 3)))
    said = subprocess.run(["cksum", tmp_path / "data"], capture_output=True, text=True, check=True).stdout
    assert cksum(file) == int(said.split()[0])


def test_a_checksum_does_not_depend_on_the_pieces(file, monkeypatch):
    whole = cksum(file)
    monkeypatch.setattr("haarflow.gaugefiles.qcdml.PIECE", 1000)
    assert cksum(file) == whole


@pytest.mark.parametrize("change, said", [({"series": None}, "lacks series"), ({"colour": "red"}, "unknown colour")])
def test_words_that_are_missing_or_unknown_are_named(file, change, said):
    words = {name: value for name, value in {**WORDS, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=said):
        write_qcdml(file, words)
    assert not file.with_name("u.lime.xml").exists()


def test_a_file_of_another_format_is_refused(links, tmp_path):
    write_gauge(tmp_path / "u.nersc", links)
    with pytest.raises(ValueError, match="is NERSC: convert it to ILDG"):
        write_qcdml(tmp_path / "u.nersc", WORDS)


def test_convert_writes_it_beside_the_file(links, tmp_path, capsys):
    write_gauge(tmp_path / "u.nersc", links)
    (tmp_path / "words.toml").write_text("".join(f"{name} = {value!r}\n" for name, value in WORDS.items()))
    assert haarflow("convert", tmp_path / "u.nersc", tmp_path / "v.lime", "--qcdml", tmp_path / "words.toml") == 0
    assert ElementTree.parse(tmp_path / "v.lime.xml").getroot().tag.endswith("gaugeConfiguration")
    (tmp_path / "words.toml").write_text("series = ")
    assert haarflow("convert", tmp_path / "u.nersc", tmp_path / "w.lime", "--qcdml", tmp_path / "words.toml") == 1
    assert "is no TOML" in capsys.readouterr().err and not (tmp_path / "w.lime").exists()
