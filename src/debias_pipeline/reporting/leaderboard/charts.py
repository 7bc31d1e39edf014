"""The interactive charts of the leaderboard page."""

from collections.abc import Sequence
from typing import Any, Final

from debias_pipeline.reporting.conditions import name_with_oracle
from debias_pipeline.reporting.figures.charts import (
    ACCURACY,
    METHODS,
    NOT_HIDDEN,
    OF_RULE,
    Chart,
    Series,
    Table,
    by_series,
)
from debias_pipeline.reporting.leaderboard.references import marked
from debias_pipeline.reporting.leaderboard.rows import Leaderboard, LeaderboardRow, drawn_rows
from debias_pipeline.reporting.leaderboard.sections import is_oracle_row, percent_name
from debias_pipeline.reporting.text import mean_and_std

# Vega's names of shapes, and the same for the legend.
_SHAPES: Final = {"circle": "●", "square": "■", "triangle-up": "▲", "diamond": "◆", "cross": "✚"}
_COLUMNS: Final = (
    *("rule", "percent", "series", "accuracy", "low", "high"),
    *("text", "seeds", "published", "origin"),
)


def leaderboard_charts(leaderboard: Leaderboard) -> dict[str, Chart]:
    """Return a chart of the headline metric by data set; one without any value is left out.

    A chart shows the selection rule of the page's switch: methods against percent, or, if there is
    one percent, the methods side by side.
    """
    return {name: _chart(rows) for name, rows in drawn_rows(leaderboard).items()}


def _chart(rows: Sequence[LeaderboardRow]) -> Chart:
    names = list(dict.fromkeys(_name(row) for row in sorted(rows, key=is_oracle_row)))
    shapes = list(_SHAPES.items())
    percents = list(dict.fromkeys(percent_name(row["percent"]) for row in rows))
    series, of_vega = [], []
    for place, name in enumerate(names):
        # Each shape has all colours before the next shape comes.
        vega, symbol = shapes[place // METHODS % len(shapes)]
        series.append(Series(name, f"--method-{place % METHODS}", symbol=symbol))
        of_vega.append(vega)
    x = {"type": "nominal", "axis": {"title": None, "labelAngle": 0 if len(percents) > 1 else -40}}
    if len(percents) > 1:
        places = {
            "x": {**x, "field": "percent", "sort": percents},
            "xOffset": {"field": "series", "scale": {"domain": names}},
        }
    else:
        places = {"x": {**x, "field": "series", "sort": names}}
    colour = by_series(series, [each.colour for each in series])
    shape = by_series(series, of_vega)
    encoding = {**places, "y": {"field": "accuracy", **ACCURACY}}
    tooltip = [
        {"field": "series", "title": "method"},
        {"field": "percent"},
        {"field": "text", "title": "accuracy in %"},
        {"field": "seeds"},
        {"field": "published", "format": ".2%"},
        {"field": "origin", "title": "result"},
    ]
    hollow = {"type": "point", "filled": False, "size": 140, "strokeWidth": 1.5, "tooltip": None}
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "rule", "strokeWidth": 1.6, "tooltip": None},
            "encoding": {
                **encoding,
                "y": {"field": "low", **ACCURACY},
                "y2": {"field": "high"},
                "color": colour,
            },
        },
        {
            "transform": [{"filter": "isValid(datum.published)"}],
            "mark": hollow,
            "encoding": {
                **encoding,
                "y": {"field": "published", **ACCURACY},
                "stroke": colour,
                "shape": shape,
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
            "encoding": {**encoding, "color": colour, "shape": shape, "tooltip": tooltip},
        },
    ]
    spec = {
        "height": 230,
        "data": {"name": "trials"},
        "transform": [OF_RULE, NOT_HIDDEN],
        "layer": layers,
    }
    return Chart(spec, {"trials": Table(_COLUMNS, list(map(_values, rows)))}, series)


def _name(row: LeaderboardRow) -> str:
    return name_with_oracle(row["method"], is_oracle_row(row))


def _values(row: LeaderboardRow) -> tuple[Any, ...]:
    mean, std = row["mean"], row["std"] or 0.0
    low, high = (None, None) if mean is None else (max(0.0, mean - std), min(1.0, mean + std))
    return (
        row["protocol"],
        percent_name(row["percent"]),
        _name(row),
        mean,
        low,
        high,
        marked(mean_and_std(mean, row["std"]), row),
        len(row["seeds"]),
        row["published"],
        "reference" if row.get("reference") else "own",
    )
