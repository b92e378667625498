"""The language of model.yaml: what may be declared, and what a mistake is told."""
