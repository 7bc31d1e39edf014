"""Wiring: nodes that hand catalog data to the packages that do the work."""
