"""Builds a window: what the model's queries may see, its features and its labels."""
