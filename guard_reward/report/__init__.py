"""A report over runs: one HTML file that holds everything it shows and asks the network for nothing.

- `guard_reward.report.run`: `Run`, what is known of a run.
- `guard_reward.report.folders`: `read_runs`, folders of runs → `Run`; `log`, `tables`, `rollouts`, `sampling`,
  `settings`, `evaluations`, `training_measures` and `alarms` read what is in them.
- `guard_reward.report.summary`: three sentences about runs; `change`: whether, and when, a run changed.
- `guard_reward.report.watching`: a page that is written again while runs go on.
- `guard_reward.report.runs_page`: `write_runs_page`, the page over one or many runs.
- `guard_reward.report.curves`: log lines as curves; `charts`, `plane`: curves as plotly figures.
- `guard_reward.report.measurements`: before and after; `rollout_table`: the rollouts.
- `guard_reward.report.figures`: `write_figures`, a page of tables and figures.
- `guard_reward.report.web_page`: templates, and what the pages let run.
- `guard_reward.report.cells`, `visible`: values and texts as a reader must see them.
"""

from guard_reward.report.folders import read_runs
from guard_reward.report.run import Alarm, Measurement, Run
from guard_reward.report.runs_page import write_runs_page

__all__ = ["Alarm", "Measurement", "Run", "read_runs", "write_runs_page"]
