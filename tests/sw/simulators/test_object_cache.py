"""Objects of Verilator's own library are compiled once; any change of the inputs compiles them again."""

import pytest

from spikeloom.simulators import object_cache


@pytest.fixture
def compiler(tmp_path):
    """A compiler that writes its arguments and its input as the object, and records each call."""
    script = tmp_path / "g++"
    script.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo g++ 1.0 && exit\n'
        f"echo called >> {tmp_path}/calls\n"
        '[ "$1" = -fail ] && exit 3\n'
        'while [ "$1" != -o ]; do echo "$1"; shift; done > object\n'
        'cat "$3" >> object && mv object "$2"\n'
    )
    script.chmod(0o755)
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "verilated.cpp").write_text("library")
    (tmp_path / "include" / "verilated.h").write_text("header")
    (tmp_path / "objects").mkdir()
    return script


@pytest.fixture
def compile_it(compiler, tmp_path, monkeypatch):
    """Call the compiler through the cache; return its status, its output, and the number of calls."""
    monkeypatch.chdir(tmp_path)

    def run(*options, source=tmp_path / "include" / "verilated.cpp", target="a.o"):
        status = object_cache.main(tmp_path / "objects", [str(compiler), *options, "-o", target, str(source)])
        calls, written = tmp_path / "calls", tmp_path / target
        return status, written.read_text() if written.exists() else None, len(calls.read_text().splitlines())

    return run


def test_compiles_the_library_once(compile_it, tmp_path):
    assert compile_it("-O0") == (0, "-O0\nlibrary", 1)
    assert compile_it("-O0", target="b.o") == (0, "-O0\nlibrary", 1)
    assert len(list((tmp_path / "objects").iterdir())) == 1


def test_compiles_again_what_changed(compile_it, compiler, tmp_path):
    assert compile_it("-O0")[2] == 1
    assert compile_it("-O2") == (0, "-O2\nlibrary", 2)
    (tmp_path / "include" / "verilated.h").write_text("another header")
    assert compile_it("-O0")[2] == 3
    (tmp_path / "include" / "verilated.cpp").write_text("another")
    assert compile_it("-O0") == (0, "-O0\nanother", 4)
    compiler.write_text(compiler.read_text().replace("g++ 1.0", "g++ 2.0"))
    assert compile_it("-O0")[2] == 5
    assert compile_it("-O0")[2] == 5


def test_compiles_a_design_each_time(compile_it, tmp_path):
    (tmp_path / "Vtop.cpp").write_text("design")
    for count in (1, 2):
        assert compile_it("-O0", source="Vtop.cpp") == (0, "-O0\ndesign", count)
        assert not list((tmp_path / "objects").iterdir())


def test_keeps_nothing_of_a_failure(compile_it, tmp_path):
    assert compile_it("-fail") == (3, None, 1)
    assert not list((tmp_path / "objects").iterdir())
