"""The truth about releases: who is head of each model, and every decision that led there."""
