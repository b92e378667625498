"""Remembers trainings and model versions: the registry and tracker ports and their adapters."""
