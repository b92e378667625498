"""Judges models: metrics, intervals, the gate's rule, pictures."""
