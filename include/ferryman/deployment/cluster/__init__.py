"""A server in a Kubernetes cluster: its manifests, their rollout, and releases to it."""
