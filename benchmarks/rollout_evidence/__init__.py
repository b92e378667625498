"""What the evidence of a rollout finds, how soon, and how often it errs: by simulation."""
