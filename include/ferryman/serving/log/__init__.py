"""The prediction log: written off the request's path, kept whole, read by day."""
