"""From a request to its answer: routed, scored, counted, logged."""
