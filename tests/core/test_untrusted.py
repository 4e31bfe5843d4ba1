"""Files from elsewhere: pipes and devices are refused, what a parser raises becomes one sentence, other errors pass."""

import os

import pytest

from haarflow.core import untrusted
from haarflow.core.untrusted import check_regular, fits, json_table, reading, text, toml


class Refused(ValueError):
    """The error that a reader promises."""


def test_a_pipe_a_device_and_a_folder_are_refused_without_opening_them(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, word in ((tmp_path / "pipe", "a pipe"), ("/dev/null", "a device"), (tmp_path, "a folder")):
        with pytest.raises(Refused, match=f"is {word}, not a file"):
            check_regular(path, Refused)
        with pytest.raises(Refused, match="not a file"):
            text(path, Refused, "a TOML file")
    with pytest.raises(FileNotFoundError):
        check_regular(tmp_path / "none", Refused)


@pytest.mark.parametrize(
    "source", ["a = " + "[" * 3000, "a = " + "9" * 5000, "a = 1" + "0" * 30, "a" + ".b" * 2000 + "=1", "a = \xff"]
)
def test_toml_that_is_too_deep_too_long_or_no_text(source, tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(source.encode("latin-1"))
    with pytest.raises(Refused, match=r"x\.toml is damaged or not a TOML file"):
        toml(path, Refused)


@pytest.mark.parametrize(
    "source", ["[" * 100_000, '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "[]", "{", '{"a": 1e400}', '{"a": 1}x']
)
def test_json_that_is_too_deep_too_long_or_no_table(source, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(source)
    with pytest.raises(Refused, match=r"x\.json is damaged or not a JSON file"):
        json_table(path, Refused)


def test_a_file_that_is_too_long_is_not_read(tmp_path):
    path = tmp_path / "x.toml"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # takes no space
    with pytest.raises(Refused, match="more than a TOML file can have"):
        toml(path, Refused)


def test_the_deepest_table_that_is_taken(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": ' * untrusted.DEEPEST + "1" + "}" * untrusted.DEEPEST)
    with pytest.raises(Refused):
        json_table(path, Refused)
    path.write_text('{"a": ' * (untrusted.DEEPEST - 1) + "1" + "}" * (untrusted.DEEPEST - 1))
    assert json_table(path, Refused)["a"]


def test_errors_of_the_system_and_promised_ones_pass_and_the_cause_is_kept():
    with pytest.raises(PermissionError), reading("x", Refused, "a file"):
        raise PermissionError(13, "no", "x")
    with pytest.raises(Refused, match=r"^as it is$"), reading("x", Refused, "a file"):
        raise Refused("as it is")
    with pytest.raises(Refused) as caught, reading("x", Refused, "a file"):
        [].pop()
    assert isinstance(caught.value.__cause__, IndexError)
    with pytest.raises(AssertionError), reading("x", Refused, "a file"):
        raise AssertionError


def test_types_of_values():
    assert fits([1, 2.5], list[float]) and not fits([True], list[int]) and not fits((1, 2), tuple[int])
    assert fits(None, int | None) and not fits("1", int) and not fits(1.0, int) and fits(1, float)


def test_long_causes_are_cut_after_200_characters():
    for length, said in ((200, "x" * 200), (201, "x" * 200 + "...")):
        with pytest.raises(Refused) as caught, reading("f", Refused, "a file"):
            raise ValueError("x" * length)
        assert f"({said})" in str(caught.value)
