"""A run's report: one HTML file that holds everything it shows and asks the network for nothing.

- `guard_reward.pipeline.report.page`: `write_report` puts the page together.
- `guard_reward.pipeline.report.charts`: histories and results as plotly figures.
- `guard_reward.pipeline.report.cells`: values as text.
"""

from guard_reward.pipeline.report.page import write_report

__all__ = ["write_report"]
