"""The Kedro pipelines: wiring only."""
