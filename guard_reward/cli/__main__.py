"""``python -m guard_reward.cli``: the same as ``guard-reward``."""

from guard_reward.cli import app

if __name__ == "__main__":
    app(prog_name="guard-reward")
