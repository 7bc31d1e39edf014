"""Figures, interactive charts and images, as text that is written into pages."""
