"""Run by MLflow to load a logged model, so that nothing has to be unpickled."""

from mlflow.models import set_model

from debias_pipeline.use.mlflow_model import ServedClassifier

set_model(ServedClassifier())
