"""Configure logging by conf/base/logging.yml.

Kedro itself would read conf/logging.yml, but while it is imported: before any code of a project can
turn an error into one line.
"""

import logging
import os
from pathlib import Path
from typing import Final

import yaml
from kedro.framework.project import LOGGING
from kedro.utils import find_kedro_project

from debias_pipeline.errors import one_line

LOGGING_FILE: Final = "conf/base/logging.yml"
# Kedro's variable for a file that is used instead; Kedro has read it.
_VARIABLE = "KEDRO_LOGGING_CONFIG"


def configure_logging() -> str | None:
    """Configure logging by the file of the project, if there is one.

    Returns:
        What is wrong with the file, in one line; None if nothing is.
    """
    file = (find_kedro_project(Path.cwd()) or Path.cwd()) / LOGGING_FILE
    if os.environ.get(_VARIABLE) or not file.is_file():
        return None
    try:
        with file.open(encoding="utf-8") as stream:
            config = yaml.safe_load(stream)
        if not isinstance(config, dict):
            raise ValueError(f"it must be a mapping, got {config!r}")
        LOGGING.configure(config)
    except Exception as error:
        # Warnings of libraries are not shown next to the error.
        logging.getLogger("py.warnings").setLevel(logging.ERROR)
        # The message of Python names the handler, its cause says why.
        reasons = [one_line(each) for each in (error, error.__cause__) if each is not None]
        return (
            f"{file} is invalid: {': '.join(reasons).rstrip('.')}; correct the file, or remove it "
            "to use Kedro's default"
        )
    return None
