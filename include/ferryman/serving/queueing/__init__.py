"""Predictions by message queue: each request answered once."""
