"""The JSON schemas of model.yaml and servers.yaml, for editors; a test compares what is kept."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from ferryman.spec.model import ModelSpec
from ferryman.spec.servers import ServersSpec

_SCHEMAS: Mapping[str, tuple[type[BaseModel], str]] = {
    "model": (ModelSpec, "Ferryman model declaration, version 1"),
    "servers": (ServersSpec, "Ferryman servers, version 1"),
}


def schema_file(kind: str) -> Path:
    """Where the schema of "model" or "servers" is committed."""
    return Path(__file__).with_name(f"{kind}.schema.json")


def schema_text(kind: str) -> str:
    """The schema as it is committed: sorted, indented, with a final newline."""
    spec, title = _SCHEMAS[kind]
    schema = spec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = title
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name in _SCHEMAS:
        schema_file(name).write_text(schema_text(name))
