"""What it costs to check a CSV file before it is parsed, against parsing it."""
