"""What the package's pages share: templates that escape every value, and a policy that lets only their scripts run."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.files import replacing
from guard_reward.report.cells import is_rate, label
from guard_reward.report.chart_data import chart_data
from guard_reward.report.visible import visible

__all__ = ["write_page"]

if TYPE_CHECKING:
    from jinja2 import Environment


def write_page(path: Path, template: str, scripts: list[str], **values: Any) -> Path:
    """Fill a template and write it: one file (about 5 MB: plotly's script is in it) that asks the network for nothing.

    Args:
        path: of the file to write.
        template: its name.
        scripts: names of the page's own scripts; they run after plotly's.
        **values: for the template. They are untrusted: every one is escaped, and what is invisible in it is shown.

    Raises:
        ModuleNotFoundError: without plotly or jinja2 (``pip install 'guard-reward[report]'``).
    """
    from plotly.offline import get_plotlyjs

    environment = _environment()
    sources = [get_plotlyjs(), *(_source(environment, name) for name in scripts)]
    page = environment.get_template(template).render(
        style=_source(environment, "report.css"),
        scripts=sources,
        script_hashes=[_csp_hash(text) for text in sources],
        **values,
    )
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")
    return path


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("guard_reward.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,  # not Markup
    )
    environment.globals.update(label=label, is_rate=is_rate, chart_data=chart_data)
    environment.filters["shown"] = visible
    # JSON has no NaN; a browser could not read it.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _source(environment: Environment, name: str) -> str:
    """A template's own text."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _csp_hash(script: str) -> str:
    """What the page's policy says to let a script run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
