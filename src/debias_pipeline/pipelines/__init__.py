"""Pipelines, and nodes that pass catalog data to the functions of other packages."""
