"""What telling drift costs and how exact it is, beside reading, scipy and Evidently."""
