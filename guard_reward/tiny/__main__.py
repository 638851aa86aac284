"""``python -m guard_reward.tiny DIR``: the old name of ``guard-reward tiny DIR``, for one more version."""

import sys

from guard_reward.cli import app

if __name__ == "__main__":
    print("python -m guard_reward.tiny has moved: use guard-reward tiny", file=sys.stderr)
    app(["tiny", *sys.argv[1:]], prog_name="guard-reward")
