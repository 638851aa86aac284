"""Draft, one forward, verify, continue: the exact greedy answer of a causal LM in as few passes as its drafts allow.

Speculative decoding (Leviathan et al., arXiv 2211.17192) at temperature 0, with a grammar as the draft model. Every
row's input and its drafted answer go through the model together. Where the arg-max equals the draft the tokens are
what ``generate(do_sample=False)`` would have produced one by one; at the first difference the model's own token is
taken, the cache is kept, and the next draft continues from there. A row whose answer leaves the grammar gets empty
drafts and is decoded token by token, exactly as ``generate`` does.

Exact means: equal to greedy ``generate`` in float32. In lower precision two nearly equal logits can swap places
between any two ways of computing them, ``generate`` with another batch size included.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from transformers import Cache, DynamicCache

from guard_reward.scoring.grammar import State, VerdictGrammar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Generation", "VerdictEngine"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Generation:
    """One row's greedy answer.

    Attributes:
        token_ids: the answer, without the end token.
        ended: whether the end token came within the limit of new tokens.
        passes: forward passes this row took part in.
        severity_log_probs: log-probabilities of the grammar's watched tokens where the severity was decided,
            shape (5,): Safe, Controversial, Unsafe, Yes, No; None where the answer never came there.
        refusal_log_probs: the same where the refusal was decided.
    """

    token_ids: list[int] = field(default_factory=list)
    ended: bool = False
    passes: int = 0
    severity_log_probs: list[float] | None = None
    refusal_log_probs: list[float] | None = None


@dataclass(slots=True)
class _Row:
    """A row on its way: its state in the grammar, and where its next token goes."""

    index: int
    grammar: VerdictGrammar
    state: State
    length: int  # tokens of this row whose keys and values are in the cache
    generation: Generation
    fed: list[int] = field(default_factory=list)  # tokens given to the current pass, accepted or not

    @property
    def draft(self) -> list[int]:
        return self.grammar.draft(self.state)


class VerdictEngine:
    """Scores batches of token-id rows with one model.

    Args:
        model: a causal LM in eval mode, whole on its device, that attends to its whole context.
        end_token_ids: the ids that end an answer.
        max_new_tokens: the longest answer; 128 as on Qwen3Guard's model card.

    Raises:
        ValueError: a model with sliding-window, linear or recurrent attention: rejected drafts cannot be taken out of
            its state, so its answers would differ from ``generate`` without a word.
    """

    def __init__(self, model: PreTrainedModel, end_token_ids: Collection[int], max_new_tokens: int = 128):
        _check_attention(model)
        self.model = model
        self.end_token_ids = frozenset(end_token_ids)
        self.max_new_tokens = max_new_tokens
        self._head_is_all = _head_is_all_behind_the_decoder(model)
        logger.info("logits %s", "at verdict positions only" if self._head_is_all else "of the whole forward: slower")

    @torch.inference_mode()
    def generate(self, inputs: Sequence[Sequence[int]], grammars: Sequence[VerdictGrammar]) -> list[Generation]:
        """The greedy answers to `inputs`, in order.

        Args:
            inputs: token ids, one sequence a row, none empty.
            grammars: what each row's answer is expected to look like.
        """
        rows = [_Row(index, grammar, grammar.start, 0, Generation()) for index, grammar in enumerate(grammars)]
        answers = [row.generation for row in rows]
        for row, tokens in zip(rows, inputs, strict=True):
            row.fed = [*tokens, *row.draft[: self.max_new_tokens - 1]]

        cache: Cache = DynamicCache()
        valid = torch.ones(len(rows), 0, dtype=torch.bool, device=self.model.device)  # (rows, cached slots)
        skip = [len(tokens) - 1 for tokens in inputs]  # tokens of `fed` before the last one that is known to be right
        while rows:
            argmax, log_probs = self._forward(rows, skip, cache, valid)
            accepted = [
                self._verify(row, row.fed[before + 1 :], argmax[i], log_probs[i])
                for i, (row, before) in enumerate(zip(rows, skip, strict=True))
            ]
            kept = [before + 1 + count for before, count in zip(skip, accepted, strict=True)]
            valid = torch.cat([valid, self._slots(rows, kept)], dim=1)
            rows, cache, valid = self._continue(rows, kept, cache, valid)
            skip = [0] * len(rows)
        return answers

    def _forward(
        self, rows: list[_Row], skip: list[int], cache: Cache, valid: torch.Tensor
    ) -> tuple[list[list[int]], list[list[list[float]]]]:
        """One pass over all fed tokens; logits only where a token of the answer is decided.

        Returns:
            Per row, for each fed token from `skip` on, what follows it: the arg-max token id, and the log-probabilities
            of the watched tokens.
        """
        device = self.model.device
        width = max(len(row.fed) for row in rows)
        counts = [len(row.fed) - before for row, before in zip(rows, skip, strict=True)]
        # Right padding: causality hides the pads, so the first pass needs no mask and keeps the fast attention path.
        input_ids = torch.tensor([row.fed + [row.fed[-1]] * (width - len(row.fed)) for row in rows], device=device)
        offsets = torch.tensor([[row.length] for row in rows], device=device)
        position_ids = offsets + torch.arange(width, device=device)  # (rows, width)
        mask = None
        if valid.shape[1]:
            # Later passes: the cache has holes where pads and rejected drafts lie. (rows, cached slots + width)
            mask = torch.cat([valid, valid.new_ones(len(rows), width)], dim=1).long()
        # (rows, most verdict positions): the positions whose logits are wanted, short rows padded with their last
        most = max(counts)
        wanted = torch.tensor(
            [[min(before + k, len(row.fed) - 1) for k in range(most)] for row, before in zip(rows, skip, strict=True)],
            device=device,
        )
        logits = self._logits(input_ids, position_ids, mask, cache, wanted).float()  # (rows, most, vocabulary)
        watched = torch.tensor([row.grammar.watched for row in rows], device=device)  # (rows, 5)
        watched_logits = logits.gather(2, watched[:, None, :].expand(-1, most, -1))  # (rows, most, 5)
        log_probs = watched_logits - logits.logsumexp(dim=2, keepdim=True)
        return logits.argmax(dim=2).tolist(), log_probs.tolist()

    def _logits(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        mask: torch.Tensor | None,
        cache: Cache,
        wanted: torch.Tensor,
    ) -> torch.Tensor:
        """Logits at the `wanted` positions only, shape (rows, wanted, vocabulary): the vocabulary is 151k wide."""
        arguments = {
            "input_ids": input_ids,
            "position_ids": position_ids,
            "attention_mask": mask,
            "past_key_values": cache,
            "use_cache": True,
        }
        if not self._head_is_all:
            logits = self.model(**arguments).logits
            return logits.take_along_dim(wanted[..., None], dim=1)
        hidden = self.model.get_decoder()(**arguments).last_hidden_state  # (rows, width, hidden)
        return self.model.get_output_embeddings()(hidden.take_along_dim(wanted[..., None], dim=1))

    def _verify(self, row: _Row, draft: list[int], argmax: list[int], log_probs: list[list[float]]) -> int:
        """Take the model's tokens as far as the draft was right, and one more. Returns how much of the draft was."""
        generation = row.generation
        generation.passes += 1
        for count, token in enumerate(argmax[: len(draft) + 1]):
            if row.state == row.grammar.severity_state and generation.severity_log_probs is None:
                generation.severity_log_probs = log_probs[count]
            if row.state == row.grammar.refusal_state:
                generation.refusal_log_probs = log_probs[count]
            if token in self.end_token_ids:
                generation.ended = True
                return count
            generation.token_ids.append(token)
            row.state = row.grammar.step(row.state, token)
            if count < len(draft) and token != draft[count]:
                return count
        return len(draft)

    def _slots(self, rows: list[_Row], kept: list[int]) -> torch.Tensor:
        """Which of the slots that the last pass wrote hold tokens of the row, shape (rows, width)."""
        width = max(len(row.fed) for row in rows)
        device = self.model.device
        return torch.arange(width, device=device) < torch.tensor(kept, device=device)[:, None]

    def _continue(
        self, rows: list[_Row], kept: list[int], cache: Cache, valid: torch.Tensor
    ) -> tuple[list[_Row], Cache, torch.Tensor]:
        """The rows that have not ended, with their part of the cache and their next draft."""
        going = []
        for i, row in enumerate(rows):
            row.length += kept[i]
            left = self.max_new_tokens - len(row.generation.token_ids)
            if not row.generation.ended and left > 0:
                row.fed = [row.generation.token_ids[-1], *row.draft[: left - 1]]
                going.append(i)
        if going and len(going) < len(rows):
            indices = torch.tensor(going, device=valid.device)
            cache.batch_select_indices(indices)
            valid = valid[indices]
        return [rows[i] for i in going], cache, valid


def _check_attention(model: PreTrainedModel) -> None:
    """Rejected drafts stay in the cache as masked holes: exact only where a token's place in it does not matter."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if getattr(model, "_is_stateful", False) or kinds - {"full_attention", "sliding_attention"}:
        raise ValueError(f"{type(model).__name__} keeps a running state; guards need full attention: {sorted(kinds)}")
    window = getattr(config, "sliding_window", None)
    if (not kinds or "sliding_attention" in kinds) and window and window < config.max_position_embeddings:
        raise ValueError(
            f"{type(model).__name__} attends to the last {window} tokens only, of a context of "
            f"{config.max_position_embeddings}; one-pass scoring is exact for full attention. If no text exceeds the "
            "window, set max_position_embeddings in the checkpoint's config.json to the window"
        )


@torch.inference_mode()
def _head_is_all_behind_the_decoder(model: PreTrainedModel) -> bool:
    """Whether the logits are just ``head(decoder(x))``, so that the head can be applied to few positions.

    Some architectures scale or cap the logits behind the head; they are scored through the model's whole forward.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    if decoder is None or head is None or decoder is model:
        return False
    probe = torch.arange(4, device=model.device)[None]
    logits = model(input_ids=probe, use_cache=False).logits
    return torch.equal(logits, head(decoder(input_ids=probe, use_cache=False).last_hidden_state))
