"""Reads a model.yaml: every mistake with file and line, the bad key and the nearest legal one."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ferryman.spec.mistakes import mistakes_of
from ferryman.spec.model import DeclaredModel, ModelSpec
from ferryman.spec.references import check_references
from ferryman.spec.yaml_file import DeclarationError, line_index, parse_yaml, to_python

FILE_NAME = "model.yaml"


def load_model(path: Path) -> DeclaredModel:
    """Read the declaration in a folder (or of a model.yaml) and check it.

    Raises DeclarationError (exit 2) with every mistake, each as file:line: text.
    """
    file = path / FILE_NAME if path.is_dir() else path
    node = parse_yaml(file)
    lines = line_index(node)
    try:
        spec = ModelSpec.model_validate(to_python(node, file))
    except ValidationError as error:
        raise DeclarationError(mistakes_of(error, file, lines)) from error
    mistakes = check_references(spec, file, lines)
    if mistakes:
        raise DeclarationError(mistakes)
    return DeclaredModel(
        spec=spec, folder=file.parent, file=file, digest=folder_digest(file.parent)
    )


def folder_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Relative name and bytes of every file of a model's folder that counts, sorted by path."""
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        if file.is_file() and "__pycache__" not in relative.parts:
            yield relative.as_posix(), file.read_bytes()


def folder_digest(folder: Path) -> str:
    """The sha256 over names and bytes of every file of a model's folder, sorted by path."""
    return files_digest(folder_files(folder))


def files_digest(files: Iterable[tuple[str, bytes]]) -> str:
    """The same of files that were read before, in the order of `folder_files`."""
    total = hashlib.sha256()
    for name, content in files:
        total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()
