"""List the trials of grids that are stored, whatever their settings."""

import json
from pathlib import PurePosixPath
from typing import Any

from debias_pipeline.grid import Catalog


def stored_trials(catalog: Catalog) -> list[str]:
    """Return a text for each setting of stored trials, with its methods.

    For example "cmnist/2pct: disent, vanilla (seeds 0+1, steps 60, fp32)". Outcomes that cannot be
    read are left out.
    """
    page: Any = catalog.get("leaderboard_page")
    filesystem, reporting = page._fs, PurePosixPath(page._filepath).parents[1]
    # <data set>/<percent or name>/benchmark-<digest>/<method>/outcome.json/<version>/outcome.json
    pattern = f"{reporting}/*/*/benchmark-*/*/outcome.json/*/outcome.json"
    newest = {PurePosixPath(file).parents[1]: file for file in sorted(filesystem.glob(pattern))}
    methods: dict[tuple[str, str], set[str]] = {}
    for path, file in newest.items():
        try:
            outcome = json.loads(filesystem.cat_file(file))
            seeds = "+".join(map(str, outcome["seeds"]))
            settings = f"seeds {seeds}, steps {outcome['steps']}, {outcome['precision']}"
        except (OSError, ValueError, KeyError, TypeError):
            continue
        data = "/".join(path.parts[-5:-3])
        methods.setdefault((data, settings), set()).add(path.parts[-2])
    return [
        f"{data}: {', '.join(sorted(found))} ({settings})"
        for (data, settings), found in sorted(methods.items())
    ]
