"""What a window must look like, and what no honest feature looks like."""
