"""The documentation site: the pages here, what they include of the READMEs, and the docstrings.

``sphinx-build -W .github/docs build/docs``; formulas are written as MathML, which browsers draw by themselves,
and no page asks the network for anything.
"""

import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import stringify_signature
from sphinx.util.nodes import make_refnode

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

project = "sefl"
copyright = "the sefl authors"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = "sefl"
html_show_sphinx = False
html_css_files = ["wide.css"]
html_static_path = ["static"]
html_theme_options = {"navigation_with_keys": True}

autodoc_inherit_docstrings = False  # of Lightning and torch
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_display_short_literal_types = True
add_module_names = False
napoleon_use_ivar = True
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"

highlight_language = "none"
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"
nb_execution_mode = "off"  # what the notebook shows is stored in it; tests/demo/test_tutorial.py runs it

MATHML = LatexToMathML(fancy_error=False, annotation=True)
INCLUDE = re.compile(r"^```\{include\} (\S+)", re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:]+)\)")
NAME = re.compile(r"(?<!`)`(\w+)`(?!`)")
PAGES = {
    (page.parent / file).resolve(): page.relative_to(HERE)
    for page in HERE.rglob("*.md")
    for file in INCLUDE.findall(page.read_text())
}
"""Which page includes a file of the repository."""


def mend_links(app: Sphinx, included: Path, _: str, content: list[str]) -> None:
    """Of an included file: pictures by the page's own path, links to the pages, or none where there is no page.

    In the README of a package its public names lead to the reference.
    """
    room = (HERE / included).resolve().parent
    package = ".".join(room.relative_to(ROOT).parts)
    names = (
        getattr(importlib.import_module(package), "__all__", ()) if (room / "__init__.py").is_file() else ()
    )

    def mended(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        path = (HERE / included.parent / target).resolve()
        if picture:
            return f"![{text}]({os.path.relpath(path, (HERE / app.env.docname).parent)})"
        return f"[{text}](/{PAGES[path]})" if path in PAGES else text

    def referred(code: re.Match[str]) -> str:
        return f"{{py:obj}}`~{package}.{code[1]}`" if code[1] in names else code[0]

    content[0] = NAME.sub(referred, LINK.sub(mended, content[0]))


def is_public(name: str, thing: Any, package: ModuleType) -> bool:
    """Whether a package, or a module that does not say what is, offers a name."""
    made_here = not name.startswith("_") and getattr(thing, "__module__", None) == package.__name__
    return name in package.__all__ if hasattr(package, "__all__") else made_here


class PackageReference(SphinxDirective):
    """The public names of a package, by the file that each is in, below what that file says of them all."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = importlib.import_module(self.arguments[0])
        files: dict[str, list[str]] = {}
        public = [name for name, thing in vars(package).items() if is_public(name, thing, package)]
        for name in sorted(public):
            files.setdefault(getattr(package, name).__module__, []).append(name)
        text = [f".. automodule:: {package.__name__}", "", *[".. list-table::", ""] * bool(public)]
        for name in sorted(public):
            summary = " ".join((inspect.getdoc(getattr(package, name)) or "").partition("\n\n")[0].split())
            text += [f"   * - :py:obj:`~{package.__name__}.{name}`", f"     - {summary}"]
        for file, names in sorted(files.items()):
            title = file.rpartition(".")[2].replace("_", " ").capitalize()
            text += ["", title, "-" * len(title), "", f".. automodule:: {file}", "   :no-index:", ""]
            for name in names:
                kind = "class" if inspect.isclass(getattr(package, name)) else "function"
                text += [
                    f".. auto{kind}:: {package.__name__}.{name}",
                    *["   :members:"] * (kind == "class"),
                    "",
                ]
        return self.parse_text_to_nodes("\n".join(text), allow_section_headings=True)


def show_constructor(app: Sphinx, what: str, name: str, thing: Any, *rest: Any) -> tuple[str, str] | None:
    """The arguments of networks are those of ``__init__``; the Hub's mixin has a ``__new__`` that takes anything."""
    if what != "class" or "__new__" not in {name for base in thing.__mro__[:-1] for name in vars(base)}:
        return None
    _self, *others = inspect.signature(thing.__init__).parameters.values()
    return stringify_signature(inspect.Signature(others), show_annotation=False), ""


def keep_first_line(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Of an attribute: what stands before a colon there is no type, for which napoleon would take it."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def show_formulas(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """An indented block behind a line of prose is a formula or a listing: as it was written."""
    for number in range(len(lines) - 2, 0, -1):
        prose = re.match(r"\w|``|\(", lines[number - 1])
        told = lines[number - 1].endswith("::")
        if prose and not told and not lines[number] and re.match(r"    +\S", lines[number + 1]):
            lines[number:number] = ["", "::"]


def find_public(app: Sphinx, env: Any, reference: Any, content: Any) -> Any:
    """A name within its own file, or by the file it is in, is where its package shows it."""
    if reference.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    ending = "." + ".".join(reference["reftarget"].split(".")[-1 - (reference["reftype"] == "meth") :])
    found = [name for name in domain.objects if name.endswith(ending)]
    if len(found) != 1:
        return None
    shown = domain.objects[found[0]]
    return make_refnode(app.builder, reference["refdoc"], shown.docname, shown.node_id, content, found[0])


def write_formula(translator: Any, formula: nodes.math | nodes.math_block) -> None:
    """As MathML, or as TeX and with a warning where it is not understood."""
    block = isinstance(formula, nodes.math_block)
    try:
        written = MATHML.convert_with_local_state(formula.astext(), displaystyle=block)
    except LatexError as error:
        logging.getLogger(__name__).warning("formula: %s", error, location=formula)
        written = translator.encode(formula.astext())
    translator.body.append(f'<div class="math">{written}</div>' if block else written)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.connect("include-read", mend_links)
    app.connect("autodoc-process-signature", show_constructor)
    app.connect("autodoc-process-docstring", keep_first_line, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", show_formulas, priority=900)  # after it
    app.connect("missing-reference", find_public)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.add_directive("package", PackageReference)
