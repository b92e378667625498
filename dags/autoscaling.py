"""Every minute: as many replicas of a server as its load asks for, within the declared limits.

Each run decides every ten seconds, from the figures of Prometheus or of the server itself; every
decision, with its figures and its reason, stands in the server's autoscaling.jsonl and is shown by
`ferryman autoscale --log`. Without figures nothing is changed.
"""

from airflow.sdk import DAG

from ferryman_airflow.autoscaling import AutoscaleServer, about_server, autoscaled_servers

for server in autoscaled_servers():
    with DAG(**about_server(server, __doc__)):
        AutoscaleServer(task_id="autoscale", server=server.name)
