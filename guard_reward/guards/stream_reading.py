"""A stream guard's logits → risks, categories, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guard_reward.guards.stream_rules import Flagging, decide
from guard_reward.models.stream_model import StreamLabels
from guard_reward.verdict import Probabilities, Severity, TokenScores, TokenVerdict, Verdict

__all__ = ["MessageReadings", "StreamReader", "TokenReadings"]

_BY_RANK = tuple(Severity)


@dataclass(frozen=True, slots=True)
class TokenReadings:
    """What the heads of one path say at some tokens.

    Attributes:
        probabilities: of Safe, Controversial, Unsafe, shape (tokens, 3).
        categories: the likeliest one at each token; empty at a safe token.
    """

    probabilities: NDArray[np.float32]
    categories: tuple[str, ...]

    @property
    def risks(self) -> list[Severity]:
        """The likeliest risk at each token; of equally likely ones the least."""
        return [_BY_RANK[rank] for rank in self.probabilities.argmax(axis=1).tolist()]

    @classmethod
    def joined(cls, parts: Sequence[TokenReadings]) -> TokenReadings:
        """Several readings, one behind the other."""
        categories: tuple[str, ...] = sum((part.categories for part in parts), ())
        return cls(np.concatenate([part.probabilities for part in parts]), categories)

    def at(self, tokens: slice) -> TokenReadings:
        """Those of some tokens."""
        return TokenReadings(self.probabilities[tokens], self.categories[tokens])

    def worst(self) -> int:
        """The token with the highest risk; of several the one whose P(Safe) is lowest."""
        ranks = self.probabilities.argmax(axis=1)
        return int(np.lexsort((self.probabilities[:, 0], -ranks))[0])

    def scores(self) -> TokenScores:
        """The tokens of a response in short."""
        safe = self.probabilities[:, 0]
        rule = Flagging()
        for risk in self.risks:
            rule.add(risk)
        lowest = np.maximum(safe[1:], safe[:-1]).min() if len(safe) > 1 else safe.max()
        return TokenScores(len(safe), float(lowest), float(safe.mean()), rule.first_flagged)

    def riskiest(self) -> int:
        """The token whose P(Safe) is lowest."""
        return int(self.probabilities[:, 0].argmin())


@dataclass(frozen=True, slots=True)
class MessageReadings:
    """What the heads say of one message, that was read in one window or in several.

    Attributes:
        tokens: at each of its tokens.
        ends: at each window's last token.
        is_response: whether a response was read, or a prompt.
    """

    tokens: TokenReadings
    ends: TokenReadings
    is_response: bool

    @classmethod
    def of_windows(
        cls, windows: Sequence[TokenReadings], repeated: Sequence[int], closing: int, *, is_response: bool
    ) -> MessageReadings:
        """The readings of a message from those of its windows.

        Args:
            windows: at all message tokens of each.
            repeated: how many tokens each has in common with the one before it.
            closing: how many tokens at the end of each close the turn.
            is_response: whether a response was read, or a prompt.
        """
        last = len(windows) - 1
        tokens = [
            readings.at(slice(skip, None if number == last else -closing))
            for number, (readings, skip) in enumerate(zip(windows, repeated, strict=True))
        ]
        ends = TokenReadings.joined([readings.at(slice(-1, None)) for readings in windows])
        return cls(TokenReadings.joined(tokens), ends, is_response)

    def decision(self) -> tuple[Severity, int | None]:
        """The message's severity, and the token from which it has it: of a prompt its last one; None if it is safe."""
        if self.is_response:
            return decide(self.tokens.risks)
        severity = max(self.ends.risks)
        return severity, None if severity is Severity.SAFE else len(self.tokens.categories) - 1

    def verdict(self, flagged_char: int | None) -> Verdict:
        """One verdict, with the probabilities and the category of one token.

        Of a response that is the token from which it is flagged, or, if it is safe, the riskiest one; of a prompt the
        end token, in the worst window.
        """
        severity, flagged = self.decision()
        readings = self.tokens if self.is_response else self.ends
        if flagged is not None and self.is_response:
            at = flagged
        else:
            at = readings.riskiest() if self.is_response else readings.worst()
        return Verdict(
            severity,
            (readings.categories[at],) if severity is not Severity.SAFE else (),
            probabilities=Probabilities(*map(float, readings.probabilities[at])),
            windows=len(self.ends.categories),
            flagged_char=flagged_char,
            token_scores=readings.scores() if self.is_response else None,
        )


class StreamReader:
    """Reads the logits of one checkpoint.

    Args:
        labels: names of the heads' outputs.
    """

    def __init__(self, labels: StreamLabels):
        self.labels = labels
        sizes = [len(names) for names in (labels.risks, labels.categories, labels.query_risks, labels.query_categories)]
        self._ends = np.cumsum(sizes).tolist()

    def read(self, logits: Tensor, *, is_response: bool) -> TokenReadings:
        """What one path says.

        Args:
            logits: of all heads, shape (tokens, outputs); see `Qwen3ForGuardModel.output_head`.
            is_response: whether the response's path is read, or the prompt's.
        """
        parts = logits.tensor_split(self._ends[:-1], dim=-1)
        risk_logits, category_logits = parts[:2] if is_response else parts[2:]
        risks = self.labels.risks if is_response else self.labels.query_risks
        names = self.labels.categories if is_response else self.labels.query_categories
        order = [risks.index(severity.value) for severity in Severity]
        probabilities = torch.softmax(risk_logits.float(), dim=-1)[:, order].numpy()
        likeliest = category_logits.argmax(dim=-1).tolist()
        is_safe = probabilities.argmax(axis=1) == 0
        categories = tuple("" if safe else names[index] for safe, index in zip(is_safe, likeliest, strict=True))
        return TokenReadings(probabilities, categories)

    def token_verdicts(
        self, token_ids: Sequence[int], logits: Tensor, rule: Flagging, *, is_response: bool, unjudged: int = 0
    ) -> list[TokenVerdict]:
        """The verdicts on the next tokens of a growing text.

        Args:
            token_ids: the tokens.
            logits: of all heads, shape (tokens, outputs).
            rule: the text's state so far, which is changed.
            is_response: as in `read`.
            unjudged: how many of the tokens have no risk, whatever the heads say: those of an opening tag.
        """
        found = self.read(logits, is_response=is_response)
        risks = [Severity.SAFE] * unjudged + list(found.risks[unjudged:])
        verdicts = []
        for token, risk, shares, category in zip(
            token_ids, risks, found.probabilities.tolist(), found.categories, strict=True
        ):
            rule.add(risk)
            severity = rule.severity if is_response else risk
            is_flagged = rule.first_flagged is not None if is_response else severity is not Severity.SAFE
            verdicts.append(TokenVerdict(token, risk, Probabilities(*shares), category, is_flagged, severity))
        return verdicts
