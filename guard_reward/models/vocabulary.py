"""Whether a tokenizer and a model are of one make: every id has an embedding, and both end a turn alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["check_vocabulary", "end_token_ids"]


def check_vocabulary(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that the model has an embedding for all that the tokenizer makes of text and of its chat template.

    A special token without one does no harm, such as one for padding, which nothing contains.

    Raises:
        ValueError: names a token without an embedding. On a GPU it would end the process.
    """
    embeddings: Any = model.get_input_embeddings()
    rows = getattr(embeddings, "num_embeddings", None)
    if rows is None or len(tokenizer) <= rows:
        return
    template = str(tokenizer.chat_template or "")
    outside = {token: number for token, number in tokenizer.get_vocab().items() if number >= rows}
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    if used := [token for token in outside if token not in special or token in template]:
        raise ValueError(
            f"{name}: its tokenizer gives {used[0]!r} the id {outside[used[0]]}, and the model has {rows:,} tokens: "
            "take tokenizer and weights from the same checkpoint"
        )


def end_token_ids(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids at which ``generate`` stops: the generation config's end tokens, else the tokenizer's.

    Raises:
        ValueError: there are none, the model does not have them, or the tokenizer has another one.
    """
    found = model.generation_config.eos_token_id if model.generation_config is not None else None
    own = tokenizer.eos_token_id
    found = own if found is None else found
    if found is None:
        raise ValueError("neither the guard's generation_config nor its tokenizer names an end token (eos_token_id)")
    ids: list[Any] = found if isinstance(found, list) else [found]
    size = model.config.get_text_config().vocab_size
    if wrong := [one for one in ids if not isinstance(one, int) or not 0 <= one < size]:
        raise ValueError(
            f"{name}: eos_token_id in generation_config.json should be ids below {size:,}, found {wrong[0]!r}, at "
            "which the guard never stops"
        )
    if own is not None and own not in ids:
        raise ValueError(
            f"{name}: the tokenizer ends a turn with {tokenizer.eos_token!r} (id {own}), and generation_config.json "
            f"with {', '.join(map(str, ids))}: is it another model's tokenizer? If not, add {own} to eos_token_id there"
        )
    return ids
