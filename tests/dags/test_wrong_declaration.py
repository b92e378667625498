"""A wrong model.yaml takes away its own DAGs only, and Airflow shows why."""

from ferryman.steps.pipelines import PIPELINES


def _break(zoo, model):
    file = zoo / model / "model.yaml"
    text = file.read_text()
    assert "  seed: 7\n" in text
    file.write_text(text.replace("  seed: 7\n", "  sead: 7\n"))
    line = file.read_text().splitlines().index("  sead: 7") + 1
    return f"{file}:{line}"


def _ids(model):
    return {f"{model}.{pipeline}" for pipeline in PIPELINES}


def test_two_good_models_have_all_their_dags(zoo, settings_from, load_dags):
    settings_from(zoo=zoo)
    bag = load_dags()
    assert bag.import_errors == {}
    assert set(bag.dags) == _ids("flights") | _ids("other")


def test_a_typo_takes_away_its_models_dags_only_and_is_shown(zoo, settings_from, load_dags):
    place = _break(zoo, "other")
    settings_from(zoo=zoo)
    bag = load_dags()
    assert set(bag.dags) == _ids("flights")
    [(file, text)] = bag.import_errors.items()
    assert file.endswith("declarations.py")
    assert place in text
    assert "did you mean 'seed'?" in text


def test_two_wrong_models_are_both_shown(zoo, settings_from, load_dags):
    places = [_break(zoo, "other"), _break(zoo, "flights")]
    settings_from(zoo=zoo)
    bag = load_dags()
    assert bag.dags == {}
    [text] = bag.import_errors.values()
    assert all(place in text for place in places)


def test_a_task_of_a_good_model_starts_beside_a_wrong_one(
    zoo, settings_from, load_dags, monkeypatch
):
    _break(zoo, "other")
    settings_from(zoo=zoo)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "flights.training")
    assert set(load_dags().dags) == {"flights.training"}


def test_at_a_tasks_start_no_other_models_folder_is_read(zoo, settings_from, monkeypatch):
    from ferryman import catalog
    from ferryman_airflow.declarations import declared_models

    read = []
    load = catalog.load_model
    monkeypatch.setattr(
        catalog, "load_model", lambda folder: read.append(folder.name) or load(folder)
    )
    settings_from(zoo=zoo)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "flights.training")
    assert [model.name for model in declared_models("training")] == ["flights"]
    assert declared_models("release") == ()
    assert read == ["flights"]
