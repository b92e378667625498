"""Monitoring: labels joined to predictions, quality, drift, and the decision to retrain."""
