"""Networks of others for losses and metrics, and the files that their weights come from."""
