"""Rules of the house that no linter knows, read off the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    file for room in ("include/ferryman", "plugins", "dags") for file in (ROOT / room).rglob("*.py")
)
# The environment is read where settings are made, nowhere else.
# A replica carries no settings, and tells its log's form all the same.
READS_ENVIRONMENT = {"settings.py", "json_logs.py"}
# These two set it for onnxruntime before they load it; the second one runs without the project.
LOADS_ONNXRUNTIME = {"onnx_library.py", "pyfunc_model.py"}
FORBIDDEN_ATTRIBUTES = {
    ("pickle", "load"),
    ("pickle", "loads"),
    ("joblib", "load"),
    ("yaml", "load"),
}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_dangerous_call(file: Path) -> None:
    for call in calls(ast.parse(file.read_text())):
        function = call.func
        where = f"{file}:{call.lineno}"
        if isinstance(function, ast.Name):
            assert function.id not in {"eval", "exec"}, where
        elif isinstance(function, ast.Attribute):
            owner = function.value.id if isinstance(function.value, ast.Name) else ""
            assert (owner, function.attr) not in FORBIDDEN_ATTRIBUTES, where
            assert (owner, function.attr) not in {("os", "system"), ("os", "popen")}, where
        for keyword in call.keywords:
            value = keyword.value
            is_true = isinstance(value, ast.Constant) and value.value is True
            assert not (keyword.arg == "shell" and is_true), where


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_silenced_exception(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ExceptHandler):
            silent = all(isinstance(line, ast.Pass) for line in node.body)
            assert not silent, f"{file}:{node.lineno} swallows an error"


@pytest.mark.parametrize(
    "file",
    [file for file in SOURCES if "include/ferryman" in file.as_posix()],
    ids=lambda file: file.relative_to(ROOT).as_posix(),
)
def test_the_environment_is_read_in_settings_alone(file: Path) -> None:
    if file.name in READS_ENVIRONMENT | LOADS_ONNXRUNTIME:
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = (node.value.id, node.attr)
            assert name not in {("os", "environ"), ("os", "getenv")}, f"{file}:{node.lineno}"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_loads_onnxruntime_past_its_one_door(file: Path) -> None:
    """Its telemetry must be off before it is loaded."""
    loads = [
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    found = any(name.partition(".")[0] == "onnxruntime" for name in loads)
    assert found == (file.name in LOADS_ONNXRUNTIME), file
    if found:
        text = file.read_text()
        assert text.index("ORT_DISABLE_TELEMETRY") < text.index("import onnxruntime")


def test_modules_are_rooms_not_halls() -> None:
    long = {
        file.relative_to(ROOT).as_posix(): count
        for file in SOURCES
        if (count := len(file.read_text().splitlines())) > 350
    }
    assert long == {}


def test_no_module_hides_an_installed_library() -> None:
    names = {"utils", "helpers", "common", "base", "docker", "platform", "mlflow", "airflow"}
    bad = [file for file in SOURCES if file.stem in names]
    assert bad == []


def test_dag_files_import_the_two_allowed_packages_only() -> None:
    files = sorted((ROOT / "dags").glob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                allowed = module.split(".")[0] == "ferryman_airflow" or module == "airflow.sdk"
                assert allowed or module in {"__future__"}, f"{file}:{node.lineno} {module}"
