"""Ferryman's adapters to Airflow: operators, assets, params, preload, the local stack.

Nothing here knows machine learning: what a step does stands in `ferryman.steps`.
"""
