"""How many replicas a server should have, by its load; every decision is kept."""
