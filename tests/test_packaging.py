"""The package: four portions of one namespace, light imports where they are promised, and a working wheel."""

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PORTIONS = ("hdl", "sim", "sw", "boards")
# Modules for a machine with a board: they run with NumPy and pyserial only, the latter when a port is opened.
DRIVER_MODULES = ("host.driver", "host.endpoint", "host.transport", "datasets.encoders")
# The harness is Amaranth hardware; modules that cocotb imports inside the simulator may import cocotb.
SIMULATOR_MODULES = ("spikeloom.simulators.harness", "spikeloom.simulators.simulated_board")
# Layers for PyTorch, of the extra `train`.
TRAINING_MODULES = ("spikeloom.train.fire", "spikeloom.train.layers", "spikeloom.train.network")
# The packages of `sw`, directly below `spikeloom`.
SOFTWARE = (
    "api",
    "benchmarks",
    "cli",
    "compiler",
    "datasets",
    "explore",
    "export",
    "frontends",
    "host",
    "model",
    "report",
    "runners",
    "simulators",
    "train",
)
# Packages that `pip install spikeloom` brings and that may be imported immediately; typer and rich bring others.
BASE = {"numpy", "serial", "nir", "h5py", "typer", "rich", "click", "shellingham", "markdown_it", "mdurl", "pygments"}
BASE |= {"annotated_doc", "typing_extensions", "_distutils_hack"}
PACKAGES = {"hdl": ("hdl",), "sim": ("sim",), "sw": SOFTWARE, "boards": ("boards",)}

ONLY = """
import importlib, sys, traceback

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {allowed!r}:
            raise ImportError("this module must not need " + name)

sys.meta_path.insert(0, Refuse())
for module in {modules!r}:
    try:
        imported = importlib.import_module(module)
        for name in {names!r}:
            getattr(imported, name)
    except Exception:
        traceback.print_exc()
        print("not imported:", module)
"""
"""Imports modules in one process: a package that is not allowed is refused to each of them, whichever comes first. That
each can come first follows from the absence of circular imports, which `test_layout.py` checks."""


def modules_of(portion):
    folder = ROOT / portion
    paths = [path for path in sorted(folder.rglob("*.py")) if path.stem != "__init__"]
    assert paths
    return [".".join(path.relative_to(folder).with_suffix("").parts) for path in paths]


def import_with_only(modules, allowed, *names):
    """Import each of the modules, and ``names`` from it, with no other packages than those that are ``allowed``."""
    assert modules
    allowed = {"spikeloom", *allowed}
    script = ONLY.format(modules=modules, allowed=allowed, names=names)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("portion", PORTIONS)
def test_no_portion_hides_the_others(portion):
    package = ROOT / portion / "spikeloom"
    assert not (package / "__init__.py").exists()
    assert sorted(path.name for path in package.iterdir() if path.name != "__pycache__") == sorted(PACKAGES[portion])
    for name in PACKAGES[portion]:
        assert (package / name / "py.typed").is_file()
    folders = [path.parent for path in package.rglob("*.py")]
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_no_package_is_in_two_portions():
    names = [name for packages in PACKAGES.values() for name in packages]
    assert len(set(names)) == len(names)


def test_the_specification_needs_numpy_only():
    import_with_only(modules_of("sim"), {"numpy"})


def test_the_host_driver_needs_numpy_and_pyserial_only():
    import_with_only([f"spikeloom.{name}" for name in DRIVER_MODULES], {"numpy"})


def test_software_needs_no_extra_to_be_imported():
    apart = {*TRAINING_MODULES, *SIMULATOR_MODULES}
    assert apart <= set(modules_of("sw"))
    modules = [name for name in modules_of("sw") if name not in apart]
    import_with_only(modules, BASE)


def test_a_package_that_is_not_allowed_is_noticed():
    """In one module of several, and in a package that another package imports."""
    with pytest.raises(AssertionError, match=r"^not imported: spikeloom\.hdl\.noc\.packet\n(.|\n)*need amaranth\n"):
        import_with_only(["spikeloom.sim.noc.mesh", "spikeloom.hdl.noc.packet"], {"numpy"})
    with pytest.raises(AssertionError, match="this module must not need h5py"):
        import_with_only(["nir"], {"numpy", "nir"})


def test_the_public_face_needs_the_base_install_only():
    face = ["spikeloom.api"]
    import_with_only(face, set())
    import_with_only(face, {"numpy"}, "Board", "Endpoint", "FabricConfig", "read_fabric")
    hardware = {"TileSignature", "register_tile"}  # Amaranth is needed for these
    import_with_only(face, BASE, *sorted(set(importlib.import_module("spikeloom.api").__all__) - hardware))


def test_postponed_annotations_stay_out_of_the_hardware():
    sources = [path for portion in ("hdl", "boards") for path in (ROOT / portion).rglob("*.py")]
    assert len(sources) > 10
    guilty = [str(path) for path in sources if "from __future__ import annotations" in path.read_text()]
    assert guilty == []


def built_wheel(folder, **environment):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, "wheel", *options, str(ROOT)], check=True, env={**os.environ, **environment})
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_is_for_any_python_on_this_platform(wheel, tmp_path):
    """With the compiled inner loops, or pure Python on request."""
    assert "-py3-none-linux_" in wheel.name
    library = "spikeloom/sim/host/libsamples.so"
    assert library in zipfile.ZipFile(wheel).namelist()
    pure = built_wheel(tmp_path, SPIKELOOM_PURE="1")
    assert pure.name.endswith("-py3-none-any.whl")
    assert library not in zipfile.ZipFile(pure).namelist()


def test_wheel_holds_all_and_only_the_package(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for portion in PORTIONS:
        sources = (ROOT / portion).rglob("*")
        files = {str(path.relative_to(ROOT / portion)) for path in sources if path.is_file()}
        assert {file for file in files if "__pycache__" not in file} <= set(names)
    assert "spikeloom/__init__.py" not in names
    for name in ("digits.npz", "digits-mlp.nir", "README.md"):
        assert f"spikeloom/models/{name}" in names
    folders = {name.split("/")[1] for name in names if name.startswith("spikeloom/")}
    assert folders == {*(name for packages in PACKAGES.values() for name in packages), "models", "qor"}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"spikeloom"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_wheel_works_where_the_sources_are_not(wheel, tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    # The present dependencies, but not the sources: a .pth file inside a folder named in another one is not read.
    (site,) = (venv / "lib").glob("python*/site-packages")
    dependencies = Path(pytest.__file__).parent.parent
    (site / "dependencies.pth").write_text(f"{dependencies}\n")

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = "import spikeloom, spikeloom.sim, spikeloom.hdl, spikeloom.compiler; print(*spikeloom.__path__)"
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": True}
    assert subprocess.run([python, "-c", script], **options).stdout.split() == [str(site / "spikeloom")]
    script = "from spikeloom.sim.host.compiled_samples import compiled_samples; print(compiled_samples().path)"
    assert subprocess.run([python, "-c", script], **options).stdout.startswith(str(site))
    helped = subprocess.run([venv / "bin" / "spikeloom", "--help"], **options).stdout
    for command in ("check", "simulate", "generate", "bitstream", "run", "info"):
        assert command in helped
