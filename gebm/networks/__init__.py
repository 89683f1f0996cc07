"""Networks for bases and energies, one family a file."""
