"""What all ranks know together; with a process group: test_circuit_breaker.py and test_dual_ascent.py."""

from __future__ import annotations

import torch.distributed as distributed

from guard_reward.rewards.distributed import gather_objects


def test_one_process_is_its_only_rank():
    assert gather_objects((3, {"guard_error": 1}), what="counts") == [(3, {"guard_error": 1})]


def test_a_group_of_one(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert gather_objects({"rows": 4}, what="counts") == [{"rows": 4}]
    finally:
        distributed.destroy_process_group()
