"""Train and judge image classifiers on biased data."""

__version__ = "0.1.0"
