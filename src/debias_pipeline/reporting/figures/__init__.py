"""Figures, interactive charts and images of reports, as text that pages contain."""
