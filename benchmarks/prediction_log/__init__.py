"""What the prediction log costs, against the requests that it logs."""
