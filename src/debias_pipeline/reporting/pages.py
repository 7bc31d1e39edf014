"""How every HTML page is put together: one file, no script, no request to anywhere."""

from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """Fill a template; values are escaped.

    Args:
        template: name of a file in templates/.
        values: what it names.
    """
    environment = Environment(
        loader=PackageLoader("debias_pipeline.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def data_address(figure: str) -> str:
    """A figure as the address of an image, which shares no ids or styles with its page.

    Args:
        figure: SVG text, or what is such an address already.
    """
    if figure.startswith("data:"):
        return figure
    return "data:image/svg+xml," + quote(figure, safe=" /=+,;()-._~!*")
