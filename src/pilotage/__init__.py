"""Container discovery and label-based routing."""
