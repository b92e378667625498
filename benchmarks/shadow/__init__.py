"""What a shadow costs users."""
