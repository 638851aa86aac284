"""A run's report: one HTML file that holds everything it shows and asks the network for nothing.

- `guard_reward.report.page`: `write_report` puts the page together.
- `guard_reward.report.figures`: `write_figures`, a page of tables and figures.
- `guard_reward.report.charts`: histories and results as plotly figures.
- `guard_reward.report.cells`: values as text.
"""

from guard_reward.report.page import write_report

__all__ = ["write_report"]
