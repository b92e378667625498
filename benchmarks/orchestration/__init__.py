"""What Airflow costs around the steps of a training: warm stack, plain cold script, defaults."""
