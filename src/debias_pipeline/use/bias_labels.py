"""Read the bias labels that a user has given to a few images."""

from pathlib import Path

import pandas as pd

from debias_pipeline.biased_data.folder.tables import read_csv
from debias_pipeline.errors import UserError


def read_bias_labels(path: str) -> pd.DataFrame:
    """Return the rows of a filled-in `to_label.csv` that have a bias.

    Args:
        path: a CSV with columns file and bias; other columns are ignored. "" for no labels.

    Returns:
        Columns file and bias, as text; no rows for no labels.

    Raises:
        UserError: if the file does not exist, has other columns, or has no bias label.
    """
    if not path:
        return pd.DataFrame({"file": [], "bias": []}, dtype=object)
    where = f"bias_labels={path}"
    if not Path(path).is_file():
        raise UserError(f"{where} does not exist; give a filled-in to_label.csv")
    if not Path(path).read_bytes().strip():
        raise UserError(f"{where} is empty; give a filled-in to_label.csv")
    table = read_csv(Path(path))
    table.columns = table.columns.str.strip()
    missing = [name for name in ("file", "bias") if name not in table]
    if missing:
        raise UserError(
            f"{where} has no column {' and '.join(missing)}; it needs the columns file and bias, "
            "as to_label.csv has them"
        )
    texts = pd.DataFrame({name: table[name].str.strip() for name in ("file", "bias")})
    labelled: pd.DataFrame = texts[texts["bias"] != ""].reset_index(drop=True)
    if labelled.empty:
        raise UserError(f"{where} has no bias label; fill in the column bias")
    return labelled
