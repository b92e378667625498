"""Trains a registered version again, from what was recorded of it, and compares."""
