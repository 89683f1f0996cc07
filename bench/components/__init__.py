"""Components by name, from settings, and with digests of the code that they use."""
