"""``guard-reward redteam``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from guard_reward.cli.options import (
    Device,
    Dtype,
    JsonFile,
    Quiet,
    Revision,
    ServedModel,
    check_writable,
)
from guard_reward.cli.output import one_line_errors, printable, write_json
from guard_reward.cli.redteam_search import REPLIES_PER_KIND, run_search
from guard_reward.cli.redteam_tables import print_attacks
from guard_reward.errors import UserError
from guard_reward.presets import DEFAULT_GUARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard_reward.redteam.attack import Attack
    from guard_reward.redteam.judging import Judging
    from guard_reward.redteam.results import Results
    from guard_reward.redteam.selection import Selection
    from guard_reward.redteam.targets import Kind, Target
    from guard_reward.rewards.reward import GuardReward

__all__ = ["redteam"]

_RESULTS = "results.json"


class SearchStrategy(StrEnum):
    """How compositions of attacks are searched for."""

    GREEDY = "greedy"
    EVOLUTIONARY = "evolutionary"


class ThinkingMode(StrEnum):
    """How thinking is judged."""

    SEPARATE = "separate"
    JOINT = "joint"
    IGNORE = "ignore"


Replies = Annotated[
    Path | None,
    typer.Argument(
        metavar="[REPLIES]",
        help="Plain replies: a file with prompt (or messages), reply and perhaps kind. Default: samples.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Recipe = Annotated[
    Path | None,
    typer.Option(
        metavar="YAML", help="A recipe's file, whose reward is attacked; other options override it.", exists=True
    ),
]
Guard = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        envvar="GUARD_REWARD_MODEL",
        help="The guard: a hub id, a folder or a server's URL.",
        show_default="the recipe's, or Qwen/Qwen3Guard-Gen-0.6B",
    ),
]
Scheme = Annotated[str | None, typer.Option(metavar="NAME", help="The reward scheme.", show_default="guard_only")]
SchemeValues = Annotated[str | None, typer.Option("--scheme-kwargs", metavar="JSON", help="The scheme's values.")]
Helpfulness = Annotated[
    str | None, typer.Option(metavar="MODEL", help="A reward model, or package.module.callable, for H(x, y).")
]
RefusalGuard = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Another guard, that says whether an answer refuses.")
]
Thinking = Annotated[ThinkingMode | None, typer.Option(help="How thinking is judged.", show_default="separate")]
OnOutcome = Annotated[
    str | None, typer.Option(metavar="JSON", help='Reward of rows without a verdict, such as {"no_verdict": "floor"}.')
]
DefencesOption = Annotated[
    str | None,
    typer.Option(
        "--defences", metavar="off|default|strict|JSON", help="Which defences are on.", show_default="default"
    ),
]
Compare = Annotated[bool, typer.Option("--compare", help="Attack the reward without defences too, side by side.")]
Kinds = Annotated[
    str, typer.Option(metavar="KINDS", help="Which replies are attacked: unsafe, refusal, garbage, empty; with commas.")
]
Families = Annotated[list[str] | None, typer.Option("--family", metavar="NAME", help="Only this family; repeatable.")]
Names = Annotated[
    list[str] | None,
    typer.Option("--attack", metavar="NAME|PATH", help="Only this one, or package.module.function; repeatable."),
]
AttacksFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Your own attacks, one JSON object per line.", exists=True)
]
Search = Annotated[
    SearchStrategy | None, typer.Option(help="Search for compositions of attacks that pay where no attack alone does.")
]
Budget = Annotated[int, typer.Option(min=1, help="Replies that --search may judge.")]
List = Annotated[bool, typer.Option("--list", help="List the attacks that would be run, and stop.")]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1, help="At most so many replies of each kind.", show_default=f"all; {REPLIES_PER_KIND} with --search"
    ),
]
MaxRate = Annotated[float, typer.Option(min=0.0, max=1.0, help="An attack may pay on this share of replies.")]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Keep finished attacks there; a killed run goes on with the same DIR.",
        file_okay=False,
        callback=check_writable,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Discard what --out has, and begin anew.")]
Markdown = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write the tables as Markdown.", dir_okay=False, callback=check_writable),
]


def redteam(
    replies: Replies = None,
    config: Recipe = None,
    guard: Guard = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    guard_model: ServedModel = None,
    scheme: Scheme = None,
    scheme_kwargs: SchemeValues = None,
    helpfulness: Helpfulness = None,
    refusal_guard: RefusalGuard = None,
    thinking: Thinking = None,
    on_outcome: OnOutcome = None,
    defences: DefencesOption = None,
    compare: Compare = False,
    kinds: Kinds = "unsafe,refusal,garbage,empty",
    family: Families = None,
    attack: Names = None,
    attacks_file: AttacksFile = None,
    search: Search = None,
    budget: Budget = 20_000,
    listed: List = False,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Of the choice of replies, and of the attacks.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Replies per call of the reward.")] = 32,
    max_rate: MaxRate = 0.0,
    out: Out = None,
    overwrite: Overwrite = False,
    markdown: Markdown = None,
    quiet: Quiet = False,
    json_file: JsonFile = None,
) -> None:
    """Attack a reward before a policy does: which changes of a reply are paid, and should not be?

    The exit status is 1 if an attack pays, 0 if none does, 2 for a mistake.

    Examples:

    - `guard-reward redteam --guard Qwen/Qwen3Guard-Gen-0.6B`
    - `guard-reward redteam eval/replies.jsonl --config configs/gspo_hybrid.yaml --compare --markdown attacks.md`
    - `guard-reward redteam --search evolutionary --budget 20000 --out runs/search`
    - `guard-reward redteam --family openers --attack my_attacks.shout --defences strict --limit 20`
    """
    asked = {"guard": guard, "guard_revision": revision, "guard_device": device, "guard_dtype": dtype}
    asked |= {"guard_model": guard_model, "scheme": scheme, "scheme_kwargs": scheme_kwargs, "helpfulness": helpfulness}
    asked |= {"refusal_guard": refusal_guard, "thinking": thinking, "on_outcome": on_outcome, "defences": defences}
    with one_line_errors(status=2):
        attacks = _attacks(family, attack, attacks_file)
        choice = _Choice(_targets(replies), _kinds(kinds), limit, seed, batch_size)
        mode = _Mode(listed, compare, search, budget)
        shown = _Shown(_Place.of(out, overwrite=overwrite), max_rate, quiet, markdown, json_file)
        pays = mode.run(attacks, choice, lambda: _reward(config, asked), shown)
    if pays:
        raise typer.Exit(1)


class _Mode(NamedTuple):
    """What is done with the attacks."""

    listed: bool
    compare: bool
    search: SearchStrategy | None
    budget: int

    def run(self, attacks: list[Attack], choice: _Choice, reward: Callable[[], GuardReward], shown: _Shown) -> bool:
        """Do it; returns whether something pays."""
        if self.listed:
            _list(attacks)
            return False
        if self.search is None:
            return _attack(reward(), attacks, choice, shown, compare=self.compare)
        if self.compare or shown.markdown is not None:
            raise UserError("--search has no comparison and no Markdown: leave out --compare and --markdown")
        return _search(reward(), attacks, choice, shown, strategy=self.search, budget=self.budget)


class _Choice(NamedTuple):
    """Which replies are attacked, and how."""

    targets: list[Target]
    kinds: list[Kind]
    limit: int | None
    seed: int
    batch_size: int

    def select(self, judging: Judging) -> Selection:
        """The replies that are what they are said to be."""
        from guard_reward.redteam.selection import select_targets

        return select_targets(self.targets, judging, kinds=self.kinds, limit=self.limit, seed=self.seed)


class _Found(NamedTuple):
    """What came of the attacks, and the same without defences."""

    given: Results
    off: Results | None

    def to_dict(self) -> dict[str, Any]:
        given = self.given.to_dict()
        return given if self.off is None else {"with_defences": given, "without_defences": self.off.to_dict()}


class _Place(NamedTuple):
    """Where finished attacks are kept."""

    folder: Path | None
    overwrite: bool

    @classmethod
    def of(cls, folder: Path | None, *, overwrite: bool) -> _Place:
        place = cls(folder, overwrite)
        if folder is not None and (folder / _RESULTS).exists() and not overwrite:
            raise UserError(f"'{folder / _RESULTS}' exists: use --overwrite, or another --out")
        return place

    def journal(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.journal"

    def finish(self, found: _Found) -> None:
        """Write the results, in the place of the journals."""
        if self.folder is None:
            return
        write_json(self.folder / _RESULTS, found.to_dict())
        for path in self.folder.glob("*.journal"):
            path.unlink()


class _Shown(NamedTuple):
    """Where the results go."""

    place: _Place
    max_rate: float
    quiet: bool
    markdown: Path | None
    json_file: Path | None


def _attack(reward: GuardReward, attacks: list[Attack], choice: _Choice, shown: _Shown, *, compare: bool) -> bool:
    found = _run(reward, attacks, choice, shown.place, compare=compare, progress=not shown.quiet)
    _show(found, shown.max_rate, quiet=shown.quiet, page=shown.markdown)
    write_json(shown.json_file, found.to_dict())
    return bool(found.given.paying(shown.max_rate))


def _search(
    reward: GuardReward, attacks: list[Attack], choice: _Choice, shown: _Shown, *, strategy: str, budget: int
) -> bool:
    from guard_reward.redteam.judging import Judging

    judging = Judging(reward, choice.batch_size)
    few = choice._replace(limit=choice.limit or REPLIES_PER_KIND)
    found = run_search(
        attacks,
        few.select(judging),
        judging,
        strategy=strategy,
        budget=budget,
        seed=choice.seed,
        out=shown.place.folder,
        overwrite=shown.place.overwrite,
        quiet=shown.quiet,
    )
    write_json(shown.json_file, found.to_dict())
    return bool(found.alone_paying or found.compositions_paying)


def _attacks(families: list[str] | None, names: list[str] | None, file: Path | None) -> list[Attack]:
    from guard_reward.redteam.choosing import choose_attacks
    from guard_reward.redteam.registry import fixed_attacks

    return choose_attacks(fixed_attacks(), families=families or (), names=names or (), file=file)


def _list(attacks: list[Attack]) -> None:
    for attack in attacks:
        typer.echo(printable(f"{attack.family}: {attack.name} (keeps {attack.keeps})"))


def _targets(path: Path | None) -> list[Target]:
    from guard_reward.redteam.targets import read_targets, sample_targets

    return sample_targets() if path is None else read_targets(path)


def _kinds(text: str) -> list[Kind]:
    from guard_reward.redteam.targets import ATTACKED, Kind

    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in ATTACKED]
    if wrong or not names:
        raise UserError(f"--kinds should be of {', '.join(ATTACKED)}, found {', '.join(wrong) or 'none'}")
    return [Kind(name) for name in names]


def _reward(file: Path | None, asked: dict[str, Any]) -> GuardReward:
    """The reward of the recipe's file and the options, as the recipe builds it."""
    from guard_reward.launch.config import GuardRewardConfig, build_reward
    from guard_reward.launch.reward_file import read_reward_file
    from guard_reward.rewards.policy import PolicyFacts

    values = {"guard": DEFAULT_GUARD} if file is None else read_reward_file(file)
    values |= {name: value for name, value in asked.items() if value is not None}
    # The replies say by themselves where their thinking ends.
    return build_reward(GuardRewardConfig(**values), PolicyFacts(eos_token_ids=(), thinking_prefilled=False))


def _run(
    reward: GuardReward, attacks: list[Attack], choice: _Choice, place: _Place, *, compare: bool, progress: bool
) -> _Found:
    from guard_reward.redteam.judging import with_defences
    from guard_reward.rewards.defences import Defences

    def results(of: GuardReward, name: str) -> Results:
        from guard_reward.redteam.judging import Judging
        from guard_reward.redteam.run import run_attacks

        judging = Judging(of, choice.batch_size)
        chosen = choice.select(judging)
        journal = place.journal(name)
        job: dict[str, Any] = {"journal_path": journal, "restart": place.overwrite, "progress": progress}
        return run_attacks(attacks, chosen, judging, seed=choice.seed, **job)

    off = results(with_defences(reward, Defences.off()), "without_defences") if compare else None
    found = _Found(results(reward, "attacks"), off)
    place.finish(found)
    return found


def _show(found: _Found, max_rate: float, *, quiet: bool, page: Path | None) -> None:
    from guard_reward.redteam.table import markdown

    if not quiet:
        print_attacks(found.given, found.off, max_rate)
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(markdown(found.given, found.off, max_rate=max_rate), encoding="utf-8")
