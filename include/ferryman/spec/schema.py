"""The JSON schema of model.yaml, for editors; the committed copy is compared by a test."""

import json
from pathlib import Path

from ferryman.spec.model import ModelSpec

SCHEMA_FILE = Path(__file__).with_name("model.schema.json")


def schema_text() -> str:
    """The schema as it is committed: sorted, indented, with a final newline."""
    schema = ModelSpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Ferryman model declaration, version 1"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text())
