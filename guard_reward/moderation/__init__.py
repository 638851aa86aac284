"""Moderating whole files: one verdict per row, in columns added to the file's own."""
