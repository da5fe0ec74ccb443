"""The identity of code follows all that a stage reaches by imports, and nothing that a reader alone sees."""

import ast
import io
import tokenize

import pytest

from cmr import code, project, registry

HELPER = "def f():\n    return 2\n"
FILES = {
    "__init__.py": "",
    "errors.py": "class UserError(Exception):\n    pass\n",
    "mytools.py": HELPER,
    "stages/__init__.py": "",
    "stages/fit.py": "from cmr.errors import UserError\n",
    "stages/report.py": "from cmr import registry\n",
    "metrics/__init__.py": "",
    "metrics/ranking.py": "def rank():\n    return 2\n",
    "methods/__init__.py": "",
    "methods/helper.py": HELPER,
    "methods/other.py": HELPER,
    "methods/sub/__init__.py": "from .helper import f\n",
    "methods/sub/helper.py": HELPER,
}
MINE = '"""A method."""\n\nINFO = {}\n'
PLUGIN = (("methods", "mine"),)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a small package `cmr`, with a method ``mine`` that imports nothing yet."""
    for name, text in {**FILES, "methods/mine.py": MINE}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    """As a new process would start."""
    for function in (
        code.of_stage,
        code.modules,
        code.imported,
        code._nodes,
        code._file,
        code._hash_of,
        registry.parsed,
    ):
        function.cache_clear()


def identity():
    forget()
    return code.of_stage("fit", PLUGIN)


def edited(file, old, new):
    """The identity after an edit of a file."""
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    return identity()


IMPORTS = {  # what a method holds: the files that count with it
    "from cmr.methods.helper import f": ["methods/helper.py"],
    "from cmr.methods import helper": ["methods/helper.py"],
    "import cmr.methods.helper": ["methods/helper.py"],
    "import cmr.methods.helper as other_name": ["methods/helper.py"],
    "from .helper import f": ["methods/helper.py"],
    "from . import helper": ["methods/helper.py"],
    "from cmr.methods.sub.helper import f": ["methods/sub/helper.py", "methods/sub/__init__.py"],
    "from .sub.helper import f": ["methods/sub/helper.py", "methods/sub/__init__.py"],
    "from .sub import helper": ["methods/sub/helper.py", "methods/sub/__init__.py"],
    "from cmr.methods.sub import f": ["methods/sub/helper.py", "methods/sub/__init__.py"],
    "from cmr.mytools import f": ["mytools.py"],
    "from cmr import mytools": ["mytools.py"],
    "from ..mytools import f": ["mytools.py"],
    "from .. import mytools": ["mytools.py"],
    "from ..metrics.ranking import rank": ["metrics/ranking.py"],
    "from ..metrics import ranking": ["metrics/ranking.py"],
    "import importlib\nf = importlib.import_module('cmr.methods.helper').f": ["methods/helper.py"],
    "def g():\n    from cmr.mytools import f\n    return f()": ["mytools.py"],
    "if True:\n    from .helper import f": ["methods/helper.py"],
}


@pytest.mark.parametrize("form", IMPORTS)
def test_an_edit_of_what_is_imported_in_any_form_is_one_of_the_stage(package, form):
    (package / "methods/mine.py").write_text(f"{MINE}{form}\n")
    before = identity()
    files = ["methods/mine.py", "stages/fit.py", *IMPORTS[form]]
    for name in files:
        with (package / name).open("a") as file:
            file.write("NEW = 1\n")
        after = identity()
        assert after != before, name
        before = after
    for name in sorted(FILES.keys() - set(files)):
        if not name.endswith("__init__.py"):
            assert edited(package / name, "", "NEW = 1\n") == before, name


def test_a_chain_of_imports_is_followed_to_its_end_and_may_be_a_circle(package):
    (package / "methods/mine.py").write_text(f"{MINE}from .helper import f\n")
    (package / "methods/helper.py").write_text("from cmr.metrics import ranking\n")
    (package / "metrics/ranking.py").write_text("from cmr.methods.mine import INFO\n")
    before = identity()
    assert {"cmr.methods.mine", "cmr.methods.helper", "cmr.metrics.ranking"} <= code.modules("fit", PLUGIN)
    assert edited(package / "metrics/ranking.py", "INFO", "INFO as other") != before


def test_stages_and_plugins_are_told_apart(package):
    found = {code.of_stage(stage, plugins) for stage in ("fit", "report") for plugins in ((), PLUGIN)}
    assert len(found) == 4
    assert all(len(identity) == 12 for identity in found)


def test_what_is_left_out_changes_nothing(package):
    (package / "methods/mine.py").write_text(f"{MINE}from cmr.errors import UserError\n")
    before = identity()
    assert edited(package / "errors.py", "pass", "text = ''") == before


def test_files_that_a_module_reads_count_with_it(package, monkeypatch):
    monkeypatch.setitem(code.READ_BY, "cmr.methods.mine", [package / "templates"])
    (package / "templates/deep").mkdir(parents=True)
    (package / "templates/deep/page.html").write_text("<p># one")
    before = identity()
    after = edited(package / "templates/deep/page.html", "one", "two")
    assert after != before
    (package / "templates/deep/page.html").rename(package / "templates/deep/other.html")
    assert identity() != after


def test_printed_figures_and_templates_count_with_the_report():
    read = [folder for module in code.modules("report", ()) for folder in code.READ_BY.get(module, ())]
    assert project.path("resources/published") in read
    assert registry.PACKAGE / "reporting/templates" in read


def test_what_is_run_for_all_methods_alike_is_told_without_the_method(package):
    plugins = (*PLUGIN, ("metrics", "ranking"))
    seen = []
    for name in ("methods/mine.py", "metrics/ranking.py", "stages/fit.py"):
        forget()
        before = code.without_method("fit", plugins)
        edited(package / name, "", "NEW = 1\n")
        seen.append(code.without_method("fit", plugins) == before)
    assert seen == [True, False, False]


def test_the_exceptions_are_modules_that_compute_nothing():
    for module in code.LEFT_OUT:
        file = code._file(module)
        assert file, module
        roots = {name.partition(".")[0] for node in ast.walk(ast.parse(file.read_text())) for name in imported(node)}
        assert not roots & {"numpy", "scipy", "torch", "sklearn", "h5py", "pandas"}, module
    for module, folders in code.READ_BY.items():
        assert code._file(module)
        assert all(any(folder.iterdir()) for folder in folders)


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


# Bare code ------------------------------------------------------------------------------------------------------------

SOURCE = '''"""Docstring
of two lines, with a # in it."""
import os  # a remark

SIGNS = {"#": 1, 'é#': 2}  # é # "
MANY = """# no comment
of two lines"""  # a comment


class Mine:
    "A docstring."
    angle: float = 0.5
    """What stands below an assignment."""

    def f(self, x=f"{'#'} # {1 + 1:>{2}}"):
        \'\'\'Docstring of é.\'\'\'
        # a line
        return b"#", f"é {x!r} #", r"\\#"  # "three" strings

'''
BARE = '''import os
SIGNS = {"#": 1, 'é#': 2}
MANY = """# no comment
of two lines"""
class Mine:
    angle: float = 0.5
    def f(self, x=f"{'#'} # {1 + 1:>{2}}"):
        return b"#", f"é {x!r} #", r"\\#"'''


def test_bare_code_is_what_runs_and_nothing_that_depends_on_the_parser():
    """Against a text, not against a parser's: Python's versions place the parts of formatted strings differently."""
    assert code.bare(SOURCE, ast.walk(ast.parse(SOURCE))) == BARE


def test_a_comment_a_docstring_or_an_empty_line_changes_nothing(package):
    mine = package / "methods/mine.py"
    mine.write_text(SOURCE)
    before = identity()
    assert edited(mine, "Docstring\nof two", "Text\n\nof # three") == before
    assert edited(mine, "# a remark", "") == before
    assert edited(mine, "A docstring.", "Another.") == before
    assert edited(mine, "below", "under") == before
    assert edited(mine, "        # a line\n", "\n") == before
    assert edited(mine, "class Mine", "# added\n\nclass Mine") == before
    for old, new in (("no comment", "a text"), ('"#": 1', '"#": 3'), ("é {x", "e {x"), ("{'#'}", "{'!'}")):
        after = edited(mine, old, new)
        assert after != before, new
        before = after


def test_no_file_of_the_package_loses_code():
    """Token by token beside Python's own reading of each file, whose comments and docstrings are left out."""
    files = sorted(registry.PACKAGE.rglob("*.py"))
    assert len(files) > 100
    for file in files:
        source = file.read_text("utf-8")
        tree = ast.parse(source)
        lone = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
        docstrings = {(node.lineno, node.col_offset) for node in lone if isinstance(node.value.value, str)}
        assert tokens(code.bare(source, ast.walk(tree))) == tokens(source, docstrings), file


SHAPE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def tokens(text, left_out=()):
    """All tokens but those of the text's shape and those that start at (line, column) of ``left_out``."""
    found = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in found if token.type not in SHAPE and token.start not in left_out]
