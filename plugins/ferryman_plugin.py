"""The one file of plugins/ that Airflow executes: wiring only, light, no work at import."""

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from ferryman_airflow import fork_server_start


class FerrymanPlugin(AirflowPlugin):
    """Starts the fork server together with the scheduler, so that the first task finds it warm."""

    name = "ferryman"
    listeners: ClassVar = [fork_server_start]
