"""Untrusted files: bounded size, valid text, and JSON and TOML that are safe to walk through."""

import os
import re
import subprocess
import sys

import pytest

from spikeloom.sim.lib.files import (
    DEEPEST,
    FileError,
    json_from,
    read_bytes,
    read_text,
    replaced,
    shown,
    toml_from,
    write_whole,
)


def refuses(message):
    return pytest.raises(FileError, match=f"^{message}$")


def test_a_file_of_the_limit_is_read_and_a_longer_one_is_not(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with refuses(f"{re.escape(repr(str(path)))} must have at most 4 bytes, not 5"):
        read_bytes(path, 4)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "."])
def test_devices_and_folders_are_not_files(path):
    with refuses(f"'{re.escape(path)}' must be a file, not a directory, a pipe or a device"):
        read_bytes(path, 10)


def test_a_named_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with refuses("'.*pipe' must be a file, not a directory, a pipe or a device"):
        read_bytes(tmp_path / "pipe", 10)


def test_text_must_be_utf_8(tmp_path):
    (tmp_path / "text").write_bytes("µ".encode("latin-1"))
    with refuses("'.*text' must be UTF-8 text"):
        read_text(tmp_path / "text")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"it must be JSON \(Expecting .*\)"),
        ('{"a": 1, "a": 2}', "it must name each key once"),
        ("[NaN]", "it must have finite numbers, not NaN"),
        ("[-Infinity]", "it must have finite numbers, not -Infinity"),
        ("[1e999]", "it must have finite numbers, not 1e999"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"it must have at most {DEEPEST} levels of nesting"),
        ("[" * 100_000, f"it must have at most {DEEPEST} levels of nesting"),
        ('{"a":' * 100_000, f"it must have at most {DEEPEST} levels of nesting"),
        ("9" * 10_000, r"it must be JSON \(Exceeds the limit .*\)"),
    ],
)
def test_json_that_is_refused(text, message):
    with refuses(message):
        json_from(text, "it")


def test_a_long_problem_is_cut():
    with refuses(r"it must be JSON \(Exceeds the limit .{82}\)"):
        json_from("9" * 10_000, "it")


def test_json_of_the_limit():
    text = "[" * DEEPEST + "]" * DEEPEST
    assert json_from(text, "it") is not None
    assert json_from('{"a": [1, 2.5, true, null, "x"]}', "it") == {"a": [1, 2.5, True, None, "x"]}


@pytest.mark.parametrize("text", ["a = [" + "[" * 5000, "a" + ".a" * 5000 + " = 1", "[a", "a = 1\na = 2"])
def test_toml_that_is_refused(text):
    with pytest.raises(FileError, match=r"^it must (be TOML \(.*\)|have at most 64 levels of nesting)$"):
        toml_from(text, "it")


def test_toml():
    assert toml_from('board = "icebreaker"\n[core]\nlanes = 4\n', "it") == {"board": "icebreaker", "core": {"lanes": 4}}


def test_values_are_shown_on_one_line_of_printable_ascii():
    assert shown("a\nb\x1b[31m\u202eé") == r"'a\nb\x1b[31m\u202e\xe9'"
    assert shown(ValueError("a\n \tb\x1b[31mé")) == r"a b\x1b[31m\xe9"
    assert shown({"a": [1]}) == "{'a': [1]}"
    assert shown(ValueError("x\ty")) == "x y"
    assert shown("x" * 58) == f"'{'x' * 58}'", "60 characters"
    assert shown("x" * 59) == f"'{'x' * 56}..."
    assert shown("x" * 100, 10) == "'xxxxxx..."


def test_a_large_file_is_not_read_further_than_the_limit(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
    script += "from spikeloom.sim.lib.files import read_bytes\n"
    script += f"try: read_bytes({str(tmp_path / 'sparse')!r}, 1000)\nexcept ValueError as error: print(error)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.endswith("must have at most 1,000 bytes, not 1,099,511,627,776\n")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep.json"
    write_whole(path, "old")
    write_whole(path, "new ß")
    assert path.read_text(encoding="utf-8") == "new ß"

    def half_written():
        with replaced(path) as scratch:
            assert scratch.suffix == ".json"
            scratch.write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match=r"^no space left$"):
        half_written()
    assert path.read_text(encoding="utf-8") == "new ß"
    assert [each.name for each in tmp_path.iterdir()] == ["deep.json"]


def test_the_file_behind_a_link_is_replaced_and_a_device_is_written(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert target.read_text() == "new"
    assert link.is_symlink()
    write_whole("/dev/null", "anything")
    with pytest.raises(OSError, match=r"No such file or directory"):
        write_whole(tmp_path / "none" / "file", "text")
    with pytest.raises(OSError, match=r"[Ii]s a directory"):
        write_whole(tmp_path, "text")
