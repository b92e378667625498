"""How often drift is told of quiet nights, and how soon of real changes: by simulation."""
