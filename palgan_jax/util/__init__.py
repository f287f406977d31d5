"""Tools of no subject of their own: files, progress, threads, words."""
