"""The module that `[core] mp_forkserver_preload` names: importing it warms the fork server."""

from ferryman_airflow.warm_up import warm_up

SECONDS = warm_up()
