"""The families of attacks, one file each. `guard_reward.redteam.registry` lists them."""
