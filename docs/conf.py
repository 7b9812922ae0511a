"""Sphinx's configuration of the documentation site: ``make docs`` builds it into ``build/docs``.

The pages are Markdown that also reads well on its own. What is not written by hand is made here: the pages of the API
reference, one per package, and the copies of the repository's own README files.
"""

import ast
import inspect
import pkgutil
import re
import sys
from html import escape
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).parent.parent
FOLDERS = ("sim", "hdl", "boards", "sw")
PUBLIC = "spikeloom.api"  # the names for users, all of them described where they are defined
sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]

project = "spikeloom"
copyright = "the spikeloom contributors"  # Sphinx reads this name
html_title = "spikeloom"
html_show_copyright = False

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]


# Markdown
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
# The outputs in the notebooks are those that the tests compare; the site shows them as they are.
nb_execution_mode = "off"
nb_merge_streams = True
highlight_language = "none"

# API reference
default_role = "py:obj"
autodoc_member_order = "bysource"
add_module_names = False
# The layers of `spikeloom.train` derive from its classes, and it is too large for a page.
autodoc_mock_imports = ["torch"]
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False
napoleon_custom_sections = [("Members", "params_style")]
# A reference to a module, class or function of ours must resolve. Those to NumPy and Python lead off the site, and
# docstrings name members of their own class by the last part of the name, which several classes can have.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!spikeloom\.).*")]
suppress_warnings = ["ref.python"]

# Appearance. Nothing is loaded from the network: furo brings its style sheets, and the fonts are those of the system.
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"font-stack": "system-ui, sans-serif", "font-stack--monospace": "ui-monospace, monospace"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"

# Pages that are files of the repository: the page's name, and the file that stands there.
REPOSITORY_PAGES = {
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
    "models": "models/README.md",
}


def _summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def _packages() -> dict[str, list[str]]:
    """Packages that hold modules, and the names of these modules."""
    packages: dict[str, list[str]] = {PUBLIC: []} if (ROOT / "sw" / "spikeloom" / "api").is_dir() else {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder / "spikeloom").rglob("*.py")):
            package = ".".join(path.relative_to(ROOT / folder).parent.parts)
            # The commands have a page of their own.
            if not path.name.startswith("_") and package.split(".")[1] != "cli":
                packages.setdefault(package, []).append(path.stem)
    return packages


def write_api_pages() -> None:
    """Write the generated pages into ``docs/api``: one per package, their list, and the commands."""
    folder = Path(__file__).parent / "api"
    folder.mkdir(exist_ok=True)
    packages = _packages()
    pages = {"index.rst": _index_page(packages), "commands.rst": _command_page()} | {
        f"{package}.rst": _package_page(package, modules) for package, modules in packages.items()
    }
    if PUBLIC in packages:
        pages[f"{PUBLIC}.rst"] = _public_page()
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        if not (folder / name).exists() or (folder / name).read_text() != text:
            (folder / name).write_text(text)


def _public_page() -> str:
    """The public names, with references to where each of them is described."""
    import spikeloom.api as api

    text = _heading("spikeloom.api", "=") + f"{inspect.getdoc(api)}\n\n.. list-table::\n   :widths: 30 70\n\n"
    for name in api.__all__:
        thing = getattr(api, name)
        home = getattr(thing, "__module__", "")
        ours = home.startswith("spikeloom.")
        summary = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()) if ours else ""
        text += f"   * - {f':py:obj:`{name} <{home}.{name}>`' if ours else f'``{name}``'}\n     - {summary}\n"
    return text


def _command_page() -> str:
    """The commands with their arguments and options, from the help texts."""
    import typer.main

    from spikeloom.cli.commands import app

    text = _heading("Commands", "=") + "``spikeloom COMMAND --help`` prints the same.\n\n"
    for name, command in sorted(typer.main.get_command(app).commands.items()):
        text += _heading(f"spikeloom {name}", "-") + f"{(command.help or '').strip()}\n\n"
        rows = [parameter for parameter in command.params if "--help" not in parameter.opts]
        text += ".. list-table::\n   :widths: 30 70\n\n" if rows else ""
        for parameter in rows:
            names = [*parameter.opts, *parameter.secondary_opts]
            if not names[0].startswith("-"):
                names = [names[0].upper()]
            text += f"   * - {', '.join(f'``{each}``' for each in names)}\n     - {parameter.help or ''}\n"
        text += "\n"
    return text


def _source(package: str) -> Path:
    return next(path for folder in FOLDERS if (path := ROOT / folder / package.replace(".", "/")).is_dir())


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _index_page(packages: dict[str, list[str]]) -> str:
    lines = [
        _heading("API reference", "="),
        "Everything below is generated from the docstrings. Imports point downwards only: ``spikeloom.sim`` needs "
        "NumPy alone, ``spikeloom.hdl`` builds on it, ``spikeloom.boards`` on both; the software packages use them "
        "all.\n\n",
        ".. toctree::\n   :hidden:\n\n" + "".join(f"   {package}\n" for package in packages) + "\n",
        ".. list-table::\n   :widths: 35 65\n\n",
    ]
    for package in packages:
        summary = _summary(_source(package) / "__init__.py") or ""
        lines.append(f"   * - :doc:`{package}`\n     - {summary}\n")
    return "".join(lines)


def _package_page(package: str, modules: list[str]) -> str:
    text = _heading(package, "=") + f".. automodule:: {package}\n\n"
    for module in modules:
        name = f"{package}.{module}"
        text += _heading(name, "-")
        text += f".. automodule:: {name}\n   :members:\n   :ignore-module-all:\n\n"
    return text


def _read_repository_page(app, name, source):
    """Put the file of the repository in the place of its page, with links that lead from there."""
    if name in REPOSITORY_PAGES:
        file = ROOT / REPOSITORY_PAGES[name]
        text = file.read_text().replace("](docs/", "](").replace("](../docs/", "](")
        source[0] = re.sub(r"\[([^]]+)\]\((?!\w+:|#|[^)]*\.md)[^)]+\)", r"\1", text)  # files that are no pages
    for page, path in REPOSITORY_PAGES.items():
        source[0] = source[0].replace(f"](../{path}", f"]({page}.md").replace(f"]({path}", f"]({page}.md")


def _convert_tables(app, what, name, obj, options, lines):
    """Turn the tables of a docstring, which are written as in Markdown, into those of reStructuredText."""
    converted: list[str] = []
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("|"):
            converted.append(line)
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if number + 1 < len(lines) and lines[number + 1].lstrip().startswith("|--"):
            converted += [".. list-table::", "   :header-rows: 1", ""]
        elif set("".join(cells)) <= {"-", ":"}:
            continue
        converted += [f"   {'  -' if place else '* -'} {cell}" for place, cell in enumerate(cells)]
    lines[:] = converted


def _resolve_by_import(app, env, node, contnode):
    """Accept a reference to something of ours that exists but has no entry in the reference, such as a constant."""
    if node.get("refdomain") == "py" and node["reftarget"].startswith("spikeloom."):
        try:
            pkgutil.resolve_name(node["reftarget"])
        except (ImportError, AttributeError):
            return None
        return contnode
    return None


def _put_figures_into_the_page(app, doctree, name):
    """Drawings become part of the page, so that they follow its scheme of colours and not that of the system."""
    for image in list(doctree.findall(nodes.image)):
        path = ROOT / "docs" / image["uri"]
        if path.parent.name == "figures" and path.suffix == ".svg":
            picture = f'<figure class="drawing" aria-label="{escape(image.get("alt", ""))}">{path.read_text()}</figure>'
            image.replace_self(nodes.raw("", picture, format="html"))


def setup(app):
    write_api_pages()
    app.connect("autodoc-process-docstring", _convert_tables)
    app.connect("doctree-resolved", _put_figures_into_the_page)
    app.connect("missing-reference", _resolve_by_import)
    app.connect("source-read", _read_repository_page)
