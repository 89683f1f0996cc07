"""Latent chains judged against a known truth."""
