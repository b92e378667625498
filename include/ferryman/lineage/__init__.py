"""From a prediction's model version to the rows that it came from, and back."""
