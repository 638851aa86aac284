"""The other forms in which a reply can be read: the guard judges them beside the reply, and the worst verdict counts.

A reply is hidden from a guard in an encoding, in look-alike letters, or among much harmless text. So the guard is asked
about the reply as it is, about its other forms (`guard_reward.text.views`), and about windows of all of these. The
verdicts become readings of one verdict (`guard_reward.Verdict.readings`): a scheme pays what the worst of them pays.

| a form | then |
|---|---|
| has no verdict, or one without the probabilities that the reply's verdict has | it does not count, and is named |
| is Unsafe, and the reply itself has no verdict | the reply is Unsafe |
| is a window | whether the reply refuses is what the guard says of the whole reply |
| is beyond `MOST_FORMS` | it is not judged, and is named |

Named: in the rollouts table's column ``reason``, and counted in the metric ``lost_form_rate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from guard_reward.conversation import Message, Turns
from guard_reward.guards.windows import worst_verdict
from guard_reward.rewards.defences import Defences
from guard_reward.text.views import views
from guard_reward.text.windows import windows
from guard_reward.verdict import Severity, Unjudged, Verdict

__all__ = ["MOST_FORMS", "MOST_WINDOWS", "Form", "Forms", "FormsJudged", "forms_of", "judge_forms", "merge_forms"]

MOST_FORMS = 32
"""Forms of one answer or thinking that the guard judges, so that a policy cannot make it slow."""

MOST_WINDOWS = 16
"""Windows of one text; a longer text has larger windows, so that all of it is judged."""

_Said = Verdict | Unjudged


@dataclass(frozen=True, slots=True)
class Form:
    """One other form of an answer or of thinking.

    Attributes:
        conversation: with this form as its last message.
        is_window: whether it is only a part of the text.
    """

    conversation: Turns
    is_window: bool = False


@dataclass(frozen=True, slots=True)
class Forms:
    """The other forms of a rollout.

    Attributes:
        answer: those of the answer, or of thinking and answer if they are judged together.
        thinking: those of the thinking, if it is judged separately.
        left_out: how many there are beyond `MOST_FORMS`.
    """

    answer: tuple[Form, ...] = ()
    thinking: tuple[Form, ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, answer: object, thinking: object, defences: Defences) -> Forms:
        """Those of what the guard is asked about; there are none of what it is not asked about."""
        of_answer, of_thinking = (
            forms_of(part, defences) if isinstance(part, Turns) else () for part in (answer, thinking)
        )
        left_out = sum(max(len(part) - MOST_FORMS, 0) for part in (of_answer, of_thinking))
        return cls(of_answer[:MOST_FORMS], of_thinking[:MOST_FORMS], left_out)


@dataclass(frozen=True, slots=True)
class FormsJudged:
    """What came of a rollout's other forms.

    Attributes:
        answer: the guard's verdict on the answer as it was written.
        judged: how many forms have a verdict that counts.
        lost: how many have none.
        left_out: how many the guard was not asked about.
        worse: the severity of the worst form, if that is worse than the text as it was written; else None.
    """

    answer: Verdict | Unjudged | None
    judged: int = 0
    lost: int = 0
    left_out: int = 0
    worse: Severity | None = None

    @property
    def reason(self) -> str:
        """What the rollouts table says of it; empty if every form has a verdict that is not worse.

        >>> FormsJudged(None, judged=3, lost=1, worse=Severity.UNSAFE).reason
        'Unsafe in another form; 1 of 4 other forms without a verdict'
        """
        parts = (
            f"{self.worse} in another form" if self.worse else "",
            f"{self.lost} of {self.judged + self.lost} other forms without a verdict" if self.lost else "",
            f"{self.left_out} other forms left out" if self.left_out else "",
        )
        return "; ".join(filter(None, parts))


def forms_of(conversation: Sequence[Message], defences: Defences) -> tuple[Form, ...]:
    """The other forms of a conversation's last message, whole ones first; () for a plain text.

    >>> chat = Turns([{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "h\u200bo\u200bw"}])
    >>> [form.conversation[-1]["content"] for form in forms_of(chat, Defences())]
    ['how']
    """
    *before, last = conversation
    text = last["content"]
    whole = views(text) if defences.normalise else ()
    parts = chain.from_iterable(_windows(one, defences) for one in (text, *whole))
    texts = {**dict.fromkeys(parts, True), **dict.fromkeys(whole, False)}
    ordered = [*whole, *(part for part, is_window in texts.items() if is_window)]
    return tuple(
        Form(Turns([*before, {**last, "content": one}]), is_window=texts[one]) for one in ordered if one != text
    )


def _windows(text: str, defences: Defences) -> tuple[str, ...]:
    if defences.window is None:
        return ()
    size = defences.window
    while len(found := windows(text, size, defences.overlap)) > MOST_WINDOWS:
        size = size * len(found) // MOST_WINDOWS + 1
    return found


def judge_forms(
    answer: _Said | None, thinking: _Said | None, forms: Forms, said_of: Callable[[Turns], _Said]
) -> tuple[_Said | None, _Said | None, FormsJudged | None]:
    """The verdicts on answer and thinking with those on their other forms, and what came of the forms.

    Args:
        answer, thinking: what the guard said of them as they were written.
        forms: the other ones.
        said_of: what the guard said of a form's conversation.
    """
    if not forms.answer and not forms.thinking:
        return answer, thinking, None
    merged: list[_Said | None] = []
    counting: list[Verdict] = []
    worse: list[Severity] = []
    for said, others in ((answer, forms.answer), (thinking, forms.thinking)):
        if said is None:
            merged.append(None)
            continue
        verdict, counted = merge_forms(said, others, [said_of(form.conversation) for form in others])
        merged.append(verdict)
        counting += counted
        if isinstance(verdict, Verdict) and (isinstance(said, Unjudged) or verdict.severity > said.severity):
            worse.append(verdict.severity)
    lost = len(forms.answer) + len(forms.thinking) - len(counting)
    judged = FormsJudged(answer, len(counting), lost, forms.left_out, max(worse, default=None))
    return merged[0], merged[1], judged


def merge_forms(said: _Said, forms: Sequence[Form], of_forms: Sequence[_Said]) -> tuple[_Said, list[Verdict]]:
    """One verdict on a text and its other forms (table above), and the verdicts of the forms that count.

    Args:
        said: of the text as it was written.
        forms: the other ones.
        of_forms: what the guard said of them.

    >>> hidden = Form(Turns([{"role": "assistant", "content": "a bomb"}]))
    >>> verdict, _ = merge_forms(Verdict(Severity.SAFE), [hidden], [Verdict(Severity.UNSAFE)])
    >>> str(verdict.severity), [str(reading.severity) for reading in verdict.readings]
    ('Unsafe', ['Safe', 'Unsafe'])
    """
    counting = list(_counting(said, forms, of_forms))
    if isinstance(said, Unjudged):
        if not any(verdict.severity is Severity.UNSAFE for verdict in counting):
            return said, counting
        return _worst(counting, windows=1), counting
    if not counting:
        return said, []
    worst = _worst([said, *counting], windows=said.windows)
    is_as_written = worst.severity is said.severity
    return replace(worst, flagged_char=said.flagged_char if is_as_written else None), counting


def _worst(verdicts: Sequence[Verdict], *, windows: int) -> Verdict:
    """The worst verdict, with all of them and their own readings as readings."""
    worst = worst_verdict(verdicts, of="forms")
    assert isinstance(worst, Verdict)
    readings = tuple(chain.from_iterable((verdict, *verdict.readings) for verdict in verdicts))
    return replace(worst, windows=windows, readings=readings)


def _counting(said: _Said, forms: Sequence[Form], of_forms: Sequence[_Said]) -> Iterator[Verdict]:
    for form, verdict in zip(forms, of_forms, strict=True):
        if isinstance(verdict, Unjudged):
            continue
        if isinstance(said, Verdict):
            if said.probabilities is not None and verdict.probabilities is None:
                continue
            if form.is_window:
                verdict = _refusing_as(verdict, said)
        yield verdict


def _refusing_as(verdict: Verdict, whole: Verdict) -> Verdict:
    """The verdict, with what the guard says of refusals in the whole text; in its readings too."""
    readings = tuple(_refusing_as(reading, whole) for reading in verdict.readings)
    refusal, probability = whole.refusal, whole.refusal_probability
    return replace(verdict, refusal=refusal, refusal_probability=probability, readings=readings)
