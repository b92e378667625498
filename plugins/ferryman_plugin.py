"""The one file of plugins/ that Airflow executes: wiring only, light, no work at import."""

from typing import ClassVar
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from ferryman_airflow import fork_server_start, ui


class FerrymanPlugin(AirflowPlugin):
    """Adds the Models page and the receiver of alerts; starts the fork server."""

    name = "ferryman"
    listeners: ClassVar = [fork_server_start]
    fastapi_apps: ClassVar = [ui.fastapi_app(), ui.alerts_app()]
    external_views: ClassVar = [
        ui.external_view(urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/"))
    ]
