"""Figures, interactive charts and images of reports, as text for HTML pages."""
