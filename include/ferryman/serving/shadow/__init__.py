"""A candidate beside the answers: it gets copies of requests and answers nobody."""
