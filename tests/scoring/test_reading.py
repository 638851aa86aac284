"""What a pass tells, against a plain softmax; and how often the host waits for it."""

from __future__ import annotations

import pytest
import torch

from guard_reward.scoring import reading
from guard_reward.scoring.draft import Decision
from guard_reward.scoring.reading import read_logits


class Head:
    """Logits that were computed before."""

    name = "head"

    def logits(self, output):
        return output


DECISIONS = [None, Decision("a", (1, 2, 3)), None, Decision("b", (0,)), Decision("c", (4, 2))]


@pytest.mark.parametrize("chunk", [1, 2, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_arg_max_and_the_log_probabilities(monkeypatch, chunk, dtype):
    monkeypatch.setattr(reading, "LOGITS_CHUNK", chunk)
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = read_logits(Head(), logits, DECISIONS)
    assert found.argmax == logits.argmax(dim=1).tolist()
    expected = logits.float().log_softmax(dim=1)
    assert sorted(found.log_probs) == [1, 3, 4]
    for place, values in found.log_probs.items():
        ids = DECISIONS[place].token_ids
        torch.testing.assert_close(torch.tensor(values[: len(ids)]), expected[place, list(ids)])


def test_without_decisions():
    found = read_logits(Head(), torch.eye(3), [None] * 3)
    assert (found.argmax, found.log_probs) == ([0, 1, 2], {})


def test_large_token_ids_come_through():
    logits = torch.zeros(1, 200_003)
    logits[0, 200_002] = 3.0
    found = read_logits(Head(), logits, [Decision("a", (200_002, 5))])
    assert found.argmax == [200_002]
    assert found.log_probs[0] == pytest.approx(logits.log_softmax(dim=1)[0, [200_002, 5]].tolist(), rel=1e-4)


def test_the_host_waits_once(monkeypatch):
    """Each transfer to the host is a wait."""
    waits = []
    for name in ("cpu", "item", "tolist", "__bool__", "numpy"):
        own = getattr(torch.Tensor, name)

        def counted(tensor, *arguments, own=own, name=name, **options):
            waits.append(name)
            return own(tensor, *arguments, **options)

        monkeypatch.setattr(torch.Tensor, name, counted)
    monkeypatch.setattr(reading, "LOGITS_CHUNK", 2)
    read_logits(Head(), torch.randn(5, 7), DECISIONS)
    assert waits.count("cpu") == 1
    # What follows reads the copy that the host has.
    assert waits[0] == "cpu"
    assert not {"item", "__bool__", "numpy"} & set(waits)


def test_nothing_goes_to_the_device_between_chunks(monkeypatch):
    """A copy behind logits that are still computed may have to wait for them."""
    events = []

    class Recorded(Head):
        def logits(self, output):
            events.append("logits")
            return output

    own = reading.to_device
    monkeypatch.setattr(reading, "to_device", lambda *arguments: events.append("copy") or own(*arguments))
    monkeypatch.setattr(reading, "LOGITS_CHUNK", 2)
    monkeypatch.setattr(torch, "tensor", None)  # its copies wait
    read_logits(Recorded(), torch.randn(5, 7), DECISIONS)
    assert events == ["copy"] * 2 + ["logits"] * 3


def test_places_are_numbered_anew_in_each_row():
    found = reading.ReadLogits([5, 6, 7, 8], {1: [0.1], 2: [0.2]})
    assert list(found.split([1, 2, 1])) == [([5], {}), ([6, 7], {0: [0.1], 1: [0.2]}), ([8], {})]
