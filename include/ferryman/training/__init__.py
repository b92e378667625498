"""Fits models: the trainer port, its adapters, the fitted model's file."""
