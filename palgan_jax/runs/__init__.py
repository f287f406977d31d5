"""Training runs that are there: read, and shown on a page."""
