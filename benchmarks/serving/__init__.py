"""Our server against MLflow's, KServe's and a bare handler, in one run."""
