"""Nothing that a user can send becomes code: no template, shell, query or image is made of it.

A walk over dags/ and plugins/. The templates of our own pages are files, and escape what they show.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(file for room in ("dags", "plugins") for file in (ROOT / room).rglob("*.py"))
STACK = "plugins/ferryman_airflow/stack"  # starts the processes of an installation; no DAG does
# All that is used of Airflow's providers: none of it runs a command, a query or an image.
PROVIDERS = ("airflow.providers.standard.operators.hitl", "airflow.providers.openlineage")
STARTERS = {"subprocess", "pty", "docker", "kubernetes", "paramiko", "psycopg", "pymysql"}
RENDERERS = {"from_string", "render_template", "render_template_fields", "get_template_env"}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _nodes(file: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(file.read_text()))


def _modules(file: Path) -> Iterator[str]:
    for node in _nodes(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_no_way_to_run_words(file: Path) -> None:
    modules = set(_modules(file))
    foreign = {name for name in modules if name.startswith("airflow.providers.")}
    assert all(name.startswith(PROVIDERS) for name in foreign), foreign
    if not _name(file).startswith(STACK):
        assert STARTERS.isdisjoint(name.partition(".")[0] for name in modules)


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_nothing_is_rendered_but_escaping_files(file: Path) -> None:
    for node in _nodes(file):
        where = f"{_name(file)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in RENDERERS, where
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        given = {keyword.arg for keyword in node.keywords}
        assert called not in {"Template", "NativeEnvironment"}, where
        assert called != "Environment" or {"loader", "autoescape"} <= given, where
        assert called != "get_template" or "f'" not in ast.unparse(node.args[0]), where
        assert not given & {"user_defined_macros", "template_searchpath", "bash_command"}, where
        assert called not in {"execute", "text"} or not any(map(_joined, node.args)), where


def _joined(value: ast.expr) -> bool:
    """Whether a text is put together: a query of such a text could hold anything."""
    return isinstance(value, ast.JoinedStr | ast.BinOp)


def test_every_operator_says_that_it_renders_nothing() -> None:
    own, renders_nothing = {}, set()
    for file in FILES:
        for node in _nodes(file):
            if not isinstance(node, ast.ClassDef):
                continue
            bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
            own[node.name] = bases
            for line in node.body:
                targets = line.targets if isinstance(line, ast.Assign) else []
                targets = [line.target] if isinstance(line, ast.AnnAssign) else targets
                if any(ast.unparse(target) == "template_fields" for target in targets):
                    assert ast.unparse(line.value) == "()", f"{_name(file)}:{line.lineno}"  # type: ignore[attr-defined]
                    renders_nothing.add(node.name)
    operators = {
        name
        for name, bases in own.items()
        if any(base.endswith(("Operator", "Sensor", "Step")) for base in bases)
    }
    assert {"InlineStep", "ApproveRelease", "ExposeStep", "AutoscaleServer"} <= operators
    for name in operators:
        # The first parent counts where a class says nothing itself; another one's fields are not
        # inherited past it.
        inherited = own[name][0] in renders_nothing and len(own[name]) == 1
        assert name in renders_nothing or inherited, name
    fields = [name for file in FILES for name in _assigned(file) if name == "template_ext"]
    assert fields == []


def _assigned(file: Path) -> Iterator[str]:
    for node in _nodes(file):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
