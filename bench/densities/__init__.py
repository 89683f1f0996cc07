"""Models of tables: flows, and GEBMs on flows, scored by their log-likelihood."""
