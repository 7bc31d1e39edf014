"""Measure the speed of training steps and of `kedro run`; see README.md."""
