"""Mergeable summaries of columns, and what can be told by comparing two of them."""
