"""The front of a server: it owns the ports, and keeps replicas alive and alike."""
