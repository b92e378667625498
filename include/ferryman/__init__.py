"""Ferryman's domain: all between a declared model and a served prediction. Imports no Airflow."""

__version__ = "0.1.0"
