"""trackio's dashboard on this machine, with a link per section: safety, refusals, helpfulness and KL, …

    python configs/dashboards/trackio_dashboard.py --project huggingface

trackio has no file for layouts. What it has is used here: the order of charts (TRACKIO_PLOT_ORDER), and addresses that
choose metrics, x-axis and charts per row. The charts are in sections.py. The rollouts table is in the tab
Media & Tables. --links HOST prints the links alone, for a dashboard that runs elsewhere, such as a Space.
"""

import argparse
import contextlib
import os
import re
from urllib.parse import urlencode

from sections import STEP, Chart, sections


def pattern(chart: Chart) -> str:
    """A regular expression for the chart's metrics."""
    return chart.pattern or "|".join(f"^{re.escape(metric)}$" for metric in chart.metrics)


def links(base: str, project: str, reward: str) -> dict[str, str]:
    """Section → address. Each shows the section's metrics over the trainer's steps, without smoothing."""
    view = {"project": project, "x_axis": STEP, "smoothing": 0, "plots_per_row": 3}
    return {
        name: f"{base.rstrip('/')}/?{urlencode({**view, 'metric_filter': '|'.join(map(pattern, charts))})}"
        for name, charts in sections(reward).items()
    }


def plot_order(reward: str) -> str:
    """All metrics in the order of the sections, for TRACKIO_PLOT_ORDER."""
    charts = [chart for found in sections(reward).values() for chart in found]
    return ",".join(
        metric
        for mode in ("train", "eval")
        for chart in charts
        for metric in chart.metrics or (chart.pattern.strip("^") + "*",)
        if metric.startswith(f"{mode}/")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="huggingface", help="default: huggingface, as transformers calls it")
    parser.add_argument("--reward", default="guard", help="the reward's name in its metrics (default: guard)")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument("--links", metavar="HOST", help="print links to this address and start nothing")
    options = parser.parse_args()
    base, stop = options.links, None
    if base is None:
        os.environ["TRACKIO_PLOT_ORDER"] = plot_order(options.reward)
        import trackio

        stop, base, *_ = trackio.show(options.project, open_browser=False, block_thread=False, server_port=options.port)
    for name, link in links(base, options.project, options.reward).items():
        print(f"{name}: {link}", flush=True)
    if stop is not None:
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            input("Enter stops the dashboard.\n")
        stop.close()


if __name__ == "__main__":
    main()
