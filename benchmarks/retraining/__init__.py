"""Policies of retraining on a recorded year, by the domain's functions alone."""
