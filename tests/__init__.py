"""Tests, and campaigns that are run by name: `python -m tests.faults.hostile`."""
