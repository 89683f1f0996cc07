"""Stored runs as one tidy frame; comparisons of stores, exports."""
