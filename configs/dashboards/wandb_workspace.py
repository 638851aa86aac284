"""A saved view for a wandb project: safety, refusals, helpfulness and KL, categories, outcomes, speed, rollouts.

    pip install wandb-workspaces
    python configs/dashboards/wandb_workspace.py --entity my-team --project huggingface

Needs a login (wandb login) and a project that has runs. --dry-run prints the view as JSON and needs neither. The charts
are in sections.py. Runs of recipes/ with `report_to: wandb` go to the project of WANDB_PROJECT, by default huggingface.
"""

import argparse
import json

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from sections import STEP, TABLE, Chart, sections


def panel(chart: Chart) -> wr.LinePlot:
    """A line per run and metric, over the trainer's steps."""
    if chart.pattern:
        return wr.LinePlot(title=chart.title, x=STEP, metric_regex=chart.pattern)
    return wr.LinePlot(title=chart.title, x=STEP, y=list(chart.metrics))


def workspace(entity: str, project: str, reward: str, name: str) -> ws.Workspace:
    """The view. Sections beyond the first three are closed; wandb opens them on a click."""
    found = [
        ws.Section(name=title, panels=[panel(chart) for chart in charts], is_open=number < 3)
        for number, (title, charts) in enumerate(sections(reward).items())
    ]
    rollouts = ws.Section(name="Rollouts", panels=[wr.WeavePanelSummaryTable(table_name=TABLE)])
    settings = ws.WorkspaceSettings(x_axis=STEP, ignore_outliers=False)
    return ws.Workspace(entity=entity, project=project, name=name, sections=[*found, rollouts], settings=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", required=True, help="user or team")
    parser.add_argument("--project", required=True)
    parser.add_argument("--reward", default="guard", help="the reward's name in its metrics (default: guard)")
    parser.add_argument("--name", default="Guard reward", help="of the view")
    parser.add_argument("--dry-run", action="store_true", help="print the view as JSON; nothing is sent")
    options = parser.parse_args()
    view = workspace(options.entity, options.project, options.reward, options.name)
    if options.dry_run:
        model = view._to_model()  # what save() sends; the library has no public name for it
        print(json.dumps(model.model_dump(mode="json", by_alias=True, exclude_none=True), indent=2))
    else:
        print(view.save().url)


if __name__ == "__main__":
    main()
