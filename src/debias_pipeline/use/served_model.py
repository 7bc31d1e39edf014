"""Code that MLflow runs to load the model; without pickle."""

from mlflow.models import set_model

from debias_pipeline.use.mlflow_model import ServedClassifier

set_model(ServedClassifier())
