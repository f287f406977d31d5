"""Tools for all subjects: files, progress, threads, compilation, text."""
