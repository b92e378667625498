"""Labels that clients post: checked, on the disk before they are answered, kept and read by day."""
