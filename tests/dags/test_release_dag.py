"""What a declared rollout makes of the release DAG: tasks, their order, how long it may wait."""

from datetime import timedelta

import pytest
import yaml

ROOM = timedelta(hours=1)
USUAL = ["gate", "stage", "commit", "reconcile"]


@pytest.fixture
def release(zoo, settings_from, load_dags):
    """The release DAG of flights with a rollout."""

    def load(**rollout):
        file = zoo / "flights" / "model.yaml"
        declared = yaml.safe_load(file.read_text())
        declared["rollout"] = rollout
        file.write_text(yaml.safe_dump(declared))
        settings_from(zoo=zoo)
        bag = load_dags()
        assert bag.import_errors == {}
        return bag.dags["flights.release"]

    return load


def _ids(dag):
    return [task.task_id for task in dag.topological_sort()]


def test_a_direct_release_is_what_it_was(release):
    dag = release(strategy="direct")
    assert _ids(dag) == USUAL
    assert dag.dagrun_timeout == ROOM


@pytest.mark.parametrize(
    ("rollout", "stages", "waits"),
    [
        (
            {"strategy": "canary"},
            ["canary_5pct", "canary_25pct", "canary_50pct"],
            timedelta(minutes=3 * 70),
        ),
        ({"strategy": "ab"}, ["ab_test"], timedelta(days=14)),
        ({"strategy": "shadow"}, ["shadow"], timedelta(hours=25)),
        (
            {
                "strategy": "canary",
                "stages": [
                    {"weight": weight, "hold": "1m", "patience": "1m"}
                    for weight in (1e-300, 0.001, 0.125, 0.29, 0.5, 0.5000000000000001)
                ],
            },
            [
                "canary_1E-298pct",
                "canary_0.1pct",
                "canary_12.5pct",
                "canary_29pct",
                "canary_50pct",
                "canary_50.00000000000001pct",
            ],
            timedelta(minutes=12),
        ),
    ],
)
def test_each_planned_stage_is_a_task_that_says_what_it_is(release, rollout, stages, waits):
    dag = release(**rollout)
    assert _ids(dag) == ["gate", "stage", *stages, "commit", "reconcile"]
    assert [dag.get_task(name).stage for name in stages] == list(range(len(stages)))
    assert dag.dagrun_timeout == ROOM + waits
    assert dag.max_active_runs == 1


def test_an_approval_stands_between_staging_and_the_first_user(release):
    approval = {"approvers": ["rita", "olga"], "answer_within": "2h"}
    dag = release(strategy="canary", stages=[{"weight": 0.1}], approval=approval)
    assert _ids(dag) == ["gate", "stage", "propose", "approve", "canary_10pct", *USUAL[2:]]
    assert dag.dagrun_timeout == ROOM + timedelta(hours=2, minutes=70)
    asking = dag.get_task("approve")
    assert asking.retries == 3  # of what Airflow breaks: a yes that the ledger holds is passed on
    assert asking.response_timeout == timedelta(hours=2)
    assert asking.defaults == ["Reject"]
    assert list(asking.params) == ["reason"]
    assert {name for task in dag.tasks for name in task.template_fields} == set()


def test_a_rollout_survives_serialisation_and_airflows_check_for_varying_arguments(release):
    from airflow.serialization.serialized_objects import DagSerialization

    dag = release(strategy="canary", approval={"approvers": ["rita"]})
    stored = DagSerialization.to_dict(dag)
    assert [task.task_id for task in DagSerialization.from_dict(stored).tasks] == [
        task.task_id for task in dag.tasks
    ]
    again = DagSerialization.to_dict(dag)
    assert stored == again


def test_the_triggerer_is_given_plain_small_data_by_a_name_that_it_can_import():
    import json

    from airflow.sdk._shared.module_loading import import_string

    from ferryman_airflow.exposure_trigger import ExposureTrigger

    given = {
        "model": "flights",
        "op_id": "a" * 64,
        "base_epoch": 3,
        "stage": 1,
        "spec_digest": "b" * 64,
        "origin": "http://127.0.0.1/dags/flights.release",
    }
    path, arguments = ExposureTrigger(**given).serialize()
    assert import_string(path) is ExposureTrigger
    assert json.loads(json.dumps(arguments)) == given


def test_a_trigger_leaves_a_changed_declaration_to_the_task(release):
    from ferryman.catalog import load_catalog
    from ferryman.settings import load_settings
    from ferryman_airflow.exposure_trigger import ExposureTrigger

    release(strategy="canary")
    given = {"op_id": "a" * 64, "base_epoch": 3, "stage": 0}
    changed = ExposureTrigger(model="flights", spec_digest="b" * 64, **given)
    assert changed.look()[:2] == (
        "error",
        "the declaration changed: the task goes on with the new one",
    )
    gone = ExposureTrigger(model="nobody", spec_digest="b" * 64, **given)
    assert gone.look()[0] == "error"
    same = load_catalog(load_settings().zoo).models["flights"].digest
    outcome, text, _ = ExposureTrigger(model="flights", spec_digest=same, **given).look()
    assert (outcome, text[:31]) == ("error", "the ledger has no operation aaa")
