"""What is served: verified copies, loaded beside and swapped, and the rows that they take."""
