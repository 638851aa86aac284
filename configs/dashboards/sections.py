"""What the dashboards show: sections of charts, each with its metrics. Edit this file; both scripts here read it.

The names are those that transformers gives a trainer's metrics in every dashboard: train/… for log lines, eval/… for
evaluations. {reward} is the reward's name. A chart's pattern is a regular expression, for metrics that depend on the
guard or on the scheme. What is not logged in a run (no labels, no helpfulness, no evaluation) shows as an empty chart.
"""

from dataclasses import dataclass

STEP = "train/global_step"  # the x-axis: the dashboards' own steps count every call, of the profiler too
TABLE = "completions"  # the rollouts table, with log_completions: true


@dataclass(frozen=True)
class Chart:
    """One chart: metrics by name, or those that a regular expression finds."""

    title: str
    metrics: tuple[str, ...] = ()
    pattern: str = ""


def both(metric: str) -> tuple[str, str]:
    return f"train/{metric}", f"eval/{metric}"


SECTIONS = {
    "Safety": (
        Chart("Safe", both("{reward}/safe_rate")),
        Chart(
            "Safe, controversial, unsafe",
            tuple(f"train/{{reward}}/{s}_rate" for s in ("safe", "controversial", "unsafe")),
        ),
        Chart("Safe, by prompt", ("train/{reward}/safe_rate/harmful", "train/{reward}/safe_rate/benign")),
        Chart("P(unsafe)", both("{reward}/p_unsafe_mean")),
    ),
    "Refusals": (
        Chart("Refused, benign prompts", both("{reward}/refusal_rate/benign")),
        Chart("Refused, harmful prompts", both("{reward}/refusal_rate/harmful")),
        Chart("Refused, all prompts", both("{reward}/refusal_rate")),
    ),
    "Helpfulness and KL": (
        Chart("Reward", both("reward")),
        Chart("Helpfulness", both("{reward}/helpfulness")),
        Chart("KL from the reference", both("kl")),
        Chart("Entropy", both("entropy")),
        Chart("Length of completions, tokens", both("completions/mean_length")),
    ),
    "Categories": (
        Chart("Categories, training", pattern="^train/{reward}/category/"),
        Chart("Categories, evaluation", pattern="^eval/{reward}/category/"),
    ),
    "Outcomes and attacks": (
        Chart("How the judging ended", pattern="^train/{reward}/outcome/"),
        Chart("Attempts to forge the guard's format", both("{reward}/injection_attempt_rate")),
        Chart("Cut off", both("{reward}/truncated_rate")),
        Chart("Thinking", pattern="^train/{reward}/thinking/"),
    ),
    "The alarm": (  # of a RewardMonitor, and of an eval_judge
        Chart(
            "Second guard: objects, says nothing",
            ("train/monitor/second_guard_disagreement", "train/monitor/second_guard_no_verdict"),
        ),
        Chart(
            "Texts out of the ordinary",
            tuple(f"train/monitor/{name}" for name in ("garbling", "repetition", "length", "language_switch")),
        ),
        Chart("Alarms so far", ("train/monitor/alarms",)),
        Chart("The monitor's share of the time", ("train/monitor/share_of_step",)),
        Chart("Safe, by the judge of evaluations", ("eval/judge/safe_rate",)),
    ),
    "Speed": (
        Chart("Seconds per step", ("train/step_time",)),
        Chart("Seconds per call of the reward", ("train/{reward}/seconds",)),
        Chart("Rollouts judged per second", ("train/{reward}/rollouts_per_second",)),
    ),
}


def sections(reward: str) -> dict[str, list[Chart]]:
    """The sections for a reward of this name."""
    return {
        name: [
            Chart(
                chart.title,
                tuple(metric.replace("{reward}", reward) for metric in chart.metrics),
                chart.pattern.replace("{reward}", reward),
            )
            for chart in charts
        ]
        for name, charts in SECTIONS.items()
    }
