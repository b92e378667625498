"""The first files of a new model, for `ferryman new`: small, valid, and meant to be edited."""

import re
from pathlib import Path

from ferryman.errors import PolicyRefused, SpecError

_DECLARATION = """\
# yaml-language-server: $schema=../../ferryman/spec/model.schema.json
spec_version: 1
name: {name}
description: What does this model predict, and who uses the answer?
owner: {{team: your-team, contact: you@example.org}}

data:
  sources:
    events:
      kind: files
      path: {name}/events_{{year}}-{{month}}.csv # below the source root
      event_time: happened_at
      columns:
        happened_at: {{type: timestamp}}
        customer: {{type: category}}
        amount: {{type: number, nullable: true}}
        outcome: {{type: integer, nullable: true, known: later}}
  label: {{name: target, sql: labels.sql, known_after: 1d}}

features:
  sql: features.sql
  entity: [customer]
  columns:
    amount: {{type: number}}

train:
  framework: sklearn
  task: binary
  pipeline: pipeline.py:build
  window: 28d
  holdout: 7d

gates:
  thresholds:
    roc_auc: {{min: 0.6}}
"""

_FEATURES = """\
-- One row an event, from what is known when it happens. Columns with `known: later` are not here.
SELECT happened_at AS event_time, customer, amount FROM events ORDER BY happened_at, customer
"""

_LABELS = """\
-- The outcome of each event; NULL where it will never be known.
SELECT happened_at AS event_time, customer, outcome > 0 AS target
FROM events
ORDER BY happened_at, customer
"""

_PIPELINE = '''\
"""How the model is built; all preprocessing of a row belongs in here."""

from collections.abc import Mapping

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline


def build(params: Mapping[str, float | int | str | bool], seed: int) -> Pipeline:
    """An unfitted pipeline; `params` are those of `train.params` in model.yaml."""
    columns = ColumnTransformer([("numbers", SimpleImputer(), ["amount"])])
    return Pipeline([("columns", columns), ("model", LogisticRegression(random_state=seed))])
'''


def write_template(zoo: Path, name: str) -> Path:
    """Write the folder of a new model and return it.

    Raises SpecError (exit 2) for a name that is not legal, PolicyRefused (exit 9) where one exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise SpecError(
            f"{name[:100]!r} is not a model's name",
            remedy="Lower-case letters, digits and underscores, a letter first, at most 63.",
        )
    folder = zoo / name
    if folder.exists():
        raise PolicyRefused(f"{folder} exists", remedy="Choose another name, or edit that folder.")
    folder.mkdir(parents=True)
    files = {
        "model.yaml": _DECLARATION.format(name=name),
        "features.sql": _FEATURES,
        "labels.sql": _LABELS,
        "pipeline.py": _PIPELINE,
    }
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder
