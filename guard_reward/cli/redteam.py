"""``guard-reward redteam``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from guard_reward.cli.options import (
    Device,
    Dtype,
    JsonFile,
    Overwrite,
    Quiet,
    Restart,
    ServedModel,
)
from guard_reward.cli.output import one_line_errors, printable, write_json
from guard_reward.cli.redteam_options import (
    Attacker,
    AttacksFile,
    Budget,
    Compare,
    DefencesOption,
    Families,
    Guard,
    Helpfulness,
    JudgeOption,
    Kinds,
    Limit,
    List,
    Markdown,
    MaxRate,
    Names,
    OnOutcome,
    Out,
    Recipe,
    RefusalGuard,
    Replies,
    Revision,
    Scheme,
    SchemeValues,
    Search,
    SearchStrategy,
    Thinking,
    Train,
)
from guard_reward.cli.redteam_search import REPLIES_PER_KIND, SEARCH_BUDGET, SEARCH_JOURNAL, SEARCH_RESULTS, run_search
from guard_reward.cli.redteam_tables import print_attacks
from guard_reward.cli.redteam_training import TRAINING_RESULTS, run_training
from guard_reward.errors import UserError
from guard_reward.presets import guard_of_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard_reward.redteam.attack import Attack
    from guard_reward.redteam.judging import Judging
    from guard_reward.redteam.results import Results
    from guard_reward.redteam.selection import Selection
    from guard_reward.redteam.targets import Kind, Target
    from guard_reward.rewards.policy import PolicyFacts
    from guard_reward.rewards.reward import GuardReward

    _MakeReward = Callable[[PolicyFacts], GuardReward]

__all__ = ["redteam"]

_RESULTS = "results.json"
_JOURNALS = _GIVEN, _OFF = "attacks", "without_defences"


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
    kinds: Kinds = None,
    family: Families = None,
    attack: Names = None,
    attacks_file: AttacksFile = None,
    search: Search = None,
    budget: Budget = None,
    train: Train = None,
    policy: Attacker = None,
    judge: JudgeOption = None,
    listed: List = False,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Of the choice of replies, and of the attacks.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Replies per call of the reward.")] = 32,
    max_rate: MaxRate = 0.0,
    out: Out = None,
    restart: Restart = False,
    overwrite: Overwrite = False,
    markdown: Markdown = None,
    quiet: Quiet = False,
    json_file: JsonFile = None,
) -> None:
    """Attack a reward before a policy does: which changes of a reply are paid, and should not be?

    The exit status is 1 if an attack pays, 0 if none does, 2 for a mistake.

    Examples:

    - `guard-reward redteam --guard Qwen/Qwen3Guard-Gen-0.6B --family openers --attack my_attacks.shout --limit 20`
    - `guard-reward redteam eval/replies.jsonl --config configs/gspo_hybrid.yaml --compare --markdown attacks.md`
    - `guard-reward redteam --search evolutionary --budget 20000 --out runs/search`
    - `guard-reward redteam prompts.jsonl --train 100 --policy Qwen/Qwen3-0.6B --judge allenai/wildguard`
    """
    asked = {"guard": guard, "guard_revision": revision, "guard_device": device, "guard_dtype": dtype}
    asked |= {"guard_model": guard_model, "scheme": scheme, "scheme_kwargs": scheme_kwargs, "helpfulness": helpfulness}
    asked |= {"refusal_guard": refusal_guard, "thinking": thinking, "on_outcome": on_outcome, "defences": defences}
    with one_line_errors(status=2):
        _check_choices(train, kinds, family, attack, attacks_file, limit)
        choice = _Choice([] if train is not None else _targets(replies), _kinds(kinds), limit, seed, batch_size)
        mode = _Mode(listed, compare, search, budget, _Training(train, policy, judge, _prompts(replies, train)))
        shown = _Shown(_Place(out, restart, overwrite), max_rate, quiet, markdown, json_file)
        pays = mode.run(_attacks(family, attack, attacks_file), choice, partial(_reward, config, asked), shown)
    if pays:
        raise typer.Exit(1)


def _check_choices(train: int | None, *choices: object) -> None:
    names = ("--kinds", "--family", "--attack", "--attacks-file", "--limit")
    given = [name for name, value in zip(names, choices, strict=True) if value]
    if train is not None and given:
        raise UserError(f"--train finds its attacks by itself, on all prompts: leave out {' and '.join(given)}")


class _Training(NamedTuple):
    """What --train trains, on which prompts, and who judges it."""

    steps: int | None
    policy: str | None
    judge: str | None
    prompts: list[Any] | None


class _Mode(NamedTuple):
    """What is done with the attacks."""

    listed: bool
    compare: bool
    search: SearchStrategy | None
    budget: int | None
    training: _Training

    def run(self, attacks: list[Attack], choice: _Choice, reward: _MakeReward, shown: _Shown) -> bool:
        """Do it; returns whether something pays."""
        if self.listed:
            _list(attacks)
            return False
        self._check(shown)
        shown.place.check(self._results)
        if self.training.steps is not None:
            return _train(reward, choice, shown, self.training, self.training.steps)
        # The replies say by themselves where their thinking ends.
        made = reward(_facts(thinking_prefilled=False))
        if self.search is None:
            return _attack(made, attacks, choice, shown, compare=self.compare)
        return _search(made, attacks, choice, shown, strategy=self.search, budget=self.budget or SEARCH_BUDGET)

    @property
    def _results(self) -> str:
        """The name of the file in --out."""
        if self.training.steps is not None:
            return TRAINING_RESULTS
        return _RESULTS if self.search is None else SEARCH_RESULTS

    def _check(self, shown: _Shown) -> None:
        chosen = {"--search": self.search is not None, "--train": self.training.steps is not None}
        names = [name for name, is_given in chosen.items() if is_given]
        if len(names) > 1:
            raise UserError("--search and --train are two things: leave out one")
        if names and (self.compare or shown.markdown is not None):
            raise UserError(f"{names[0]} has no comparison and no Markdown: leave out --compare and --markdown")
        if self.training.steps is not None and shown.place.restart:
            raise UserError("--train always begins anew: leave out --restart")
        if self.search is None and self.budget is not None:
            raise UserError("--budget is for --search: leave it out, or add --search evolutionary")
        if names and shown.max_rate:
            raise UserError(f"{names[0]} has no rate that is allowed: leave out --max-rate")
        if self.training.steps is None and (self.training.policy or self.training.judge):
            raise UserError("--policy and --judge are for --train STEPS")


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
    restart: bool
    overwrite: bool

    def check(self, results: str) -> None:
        """Refuse to replace a file by accident; what a search that ended early has written is not finished."""
        if self.folder is None or self.overwrite or not (self.folder / results).exists():
            return
        if results != SEARCH_RESULTS or not (self.folder / SEARCH_JOURNAL).exists():
            raise UserError(f"'{self.folder / results}' exists: use --overwrite, or another --out")

    def journal(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.journal"

    def finish(self, found: _Found) -> None:
        """Write the results, in the place of the journals."""
        if self.folder is None:
            return
        write_json(self.folder / _RESULTS, found.to_dict())
        for name in _JOURNALS:
            (self.folder / f"{name}.journal").unlink(missing_ok=True)


class _Shown(NamedTuple):
    """Where the results go."""

    place: _Place
    max_rate: float
    quiet: bool
    markdown: Path | None
    json_file: Path | None


def _attack(reward: GuardReward, attacks: list[Attack], choice: _Choice, shown: _Shown, *, compare: bool) -> bool:
    found = _run(reward, attacks, choice, shown.place, compare=compare, progress=not shown.quiet)
    write_json(shown.json_file, found.to_dict())
    _show(found, shown.max_rate, quiet=shown.quiet, page=shown.markdown)
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
        restart=shown.place.restart,
        quiet=shown.quiet,
    )
    write_json(shown.json_file, found.to_dict())
    if found.guard_gone:
        raise UserError(f"{found.guard_gone}; what the search had found is kept")
    pays = bool(found.alone_paying or found.compositions_paying)
    if found.interrupted and not pays:
        raise UserError("the search was interrupted before it found anything")
    return pays


def _train(make_reward: _MakeReward, choice: _Choice, shown: _Shown, training: _Training, steps: int) -> bool:
    found = run_training(
        make_reward,
        training.prompts,
        policy=training.policy,
        judge=training.judge,
        steps=steps,
        seed=choice.seed,
        out=shown.place.folder,
        quiet=shown.quiet,
    )
    write_json(shown.json_file, found.to_dict())
    return found.found


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


def _prompts(path: Path | None, steps: int | None) -> list[Any] | None:
    """Of the file, for --train."""
    from guard_reward.redteam.targets import read_prompts

    return None if path is None or steps is None else list(read_prompts(path))


def _kinds(text: str | None) -> list[Kind]:
    from guard_reward.redteam.targets import ATTACKED, Kind

    if text is None:
        return list(ATTACKED)
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in ATTACKED]
    if wrong or not names:
        raise UserError(f"--kinds should be of {', '.join(ATTACKED)}, found {', '.join(wrong) or 'none'}")
    return [Kind(name) for name in names]


def _facts(*, thinking_prefilled: bool) -> PolicyFacts:
    from guard_reward.rewards.policy import PolicyFacts

    return PolicyFacts(eos_token_ids=(), thinking_prefilled=thinking_prefilled)


def _reward(file: Path | None, asked: dict[str, Any], policy: PolicyFacts) -> GuardReward:
    """The reward of the recipe's file and the options, as the recipe builds it."""
    from guard_reward.launch.config import GuardRewardConfig, build_reward
    from guard_reward.launch.reward_file import read_reward_file

    guard, revision = guard_of_environment()
    values = {"guard": guard, "guard_revision": revision} if file is None else read_reward_file(file)
    values |= {name: value for name, value in asked.items() if value is not None}
    return build_reward(GuardRewardConfig(**values), policy)


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
        job: dict[str, Any] = {"journal_path": journal, "restart": place.restart, "progress": progress}
        return run_attacks(attacks, chosen, judging, seed=choice.seed, **job)

    off = None
    if compare:
        bare, reward = with_defences(reward, Defences.off(), reward.defences)
        off = results(bare, _OFF)
    found = _Found(results(reward, _GIVEN), off)
    place.finish(found)
    return found


def _show(found: _Found, max_rate: float, *, quiet: bool, page: Path | None) -> None:
    from guard_reward.redteam.table import markdown

    if not quiet:
        print_attacks(found.given, found.off, max_rate)
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(markdown(found.given, found.off, max_rate=max_rate), encoding="utf-8")
