"""Raw rows become typed, judged and cleaned rows; what was touched is kept with its reason."""
