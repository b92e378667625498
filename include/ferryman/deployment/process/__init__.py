"""A server as processes of this machine: a front, and the replicas that it starts."""
