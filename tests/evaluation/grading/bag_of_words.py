"""A real, simple guard: TF-IDF and logistic regression, trained on labelled rows; it has every kind of verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guard_reward import Probabilities, Severity, Unjudged, Verdict
from guard_reward.evaluation.grading.labelled import LabelledRow, Refusal, Task


def _classifier() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=20_000)
    return make_pipeline(words, LogisticRegression(C=20.0, solver="liblinear"))


class BagOfWordsGuard:
    """Judges the last message by its words: a prompt's harm, a response's refusal.

    P(Controversial) is what lies between certain and uncertain: most at P(harm) = 0.5.
    """

    name = "bag of words"

    def __init__(self, rows: Sequence[LabelledRow]):
        self._harm, self._refusal = _classifier(), _classifier()
        prompts = [(row.prompt[-1]["content"], row.labels[Task.PROMPT_HARM] == Severity.UNSAFE)
                   for row in rows if Task.PROMPT_HARM in row.labels]  # fmt: skip
        answers = [(row.response["content"][:300], row.labels[Task.REFUSAL] != Refusal.COMPLIANCE)
                   for row in rows if row.response and Task.REFUSAL in row.labels]  # fmt: skip
        for classifier, examples in ((self._harm, prompts), (self._refusal, answers)):
            if examples:
                classifier.fit(*zip(*examples, strict=True))

    def moderate(self, conversations: Sequence[Any]) -> list[Verdict | Unjudged]:
        texts = [conversation[-1]["content"] for conversation in conversations]
        is_answer = [conversation[-1]["role"] == "assistant" for conversation in conversations]
        refusals: Any = [None] * len(texts)
        if any(is_answer):
            refusals = self._refusal.predict_proba([text[:300] for text in texts])[:, 1]
        harms = self._harm.predict_proba(texts)[:, 1]
        return [
            self._verdict(float(harm), float(refusal) if answered else None)
            for harm, refusal, answered in zip(harms, refusals, is_answer, strict=True)
        ]

    def _verdict(self, harm: float, refusal: float | None) -> Verdict:
        controversial = 2 * harm * (1 - harm)
        probabilities = Probabilities((1 - harm) * (1 - controversial), controversial, harm * (1 - controversial))
        severity = list(Severity)[max(range(3), key=lambda number: probabilities[number])]
        return Verdict(
            severity,
            refusal=None if refusal is None else refusal >= 0.5,
            probabilities=probabilities,
            refusal_probability=refusal,
        )
