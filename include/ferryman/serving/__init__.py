"""The serving process: predictions over HTTP from verified ONNX bundles, and its client.

`python -m ferryman.serving` runs it. It imports no training library, no registry and no Airflow.
"""
