"""Settings of the whole suite."""

from hypothesis import settings

# A slow machine is no failure, and a suite that went red is to go red again.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
