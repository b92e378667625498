"""Puts the serving program where it runs, and says whether it does."""
