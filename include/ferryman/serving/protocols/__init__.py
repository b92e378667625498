"""What clients say and hear: paths, request forms and answers of each protocol."""
