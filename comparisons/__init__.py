"""Speed and results beside other libraries; run from the project's root."""
