"""Load a logged model without pickle; MLflow runs this file."""

from mlflow.models import set_model

from debias_pipeline.use.mlflow_model import ServedClassifier

set_model(ServedClassifier())
