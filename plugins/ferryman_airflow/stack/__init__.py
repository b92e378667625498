"""The local stack behind `make run`: Airflow's parts, the MLflow UI and the serving process."""
