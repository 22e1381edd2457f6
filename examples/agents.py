"""My agents: train over slot machines that differ, then find out in a few pulls which arm of a new one pays best.

python examples/agents.py                                  # 300 steps, a minute or less
python examples/agents.py 20 CartPole-v1 "length 0.3 0.7"  # yours: an id of Gymnasium or a .py file, and what varies
"""

import sys
from dataclasses import replace

import quickstudy as qs
from quickstudy.rl import Bandit, only


def mine(iterations: int, place: str, *vary: str) -> None:
    """Environments of Gymnasium that differ in some numbers: two episodes of each, and then of one as it is."""
    tasks = qs.registry.sources.part("gym", id=place, vary=vary, past=True)
    config = replace(qs.recipes.rl_bandit(), name="mine", tasks=tasks, shots=2, queries=2, meta_batch=32)
    run = qs.train(replace(config, iterations=iterations, validation_episodes=32), overwrite=True)
    print(run.evaluate(episodes=100))
    print("saved as", run.adapt(place).save(run.folder / "adapted"))


def main(iterations: int = 300, place: str = "", *vary: str) -> None:
    if place:
        return mine(iterations, place, *vary)
    run = qs.train(replace(qs.recipes.rl_bandit(), name="slots", meta_batch=256, iterations=iterations), overwrite=True)
    print(run.evaluate(episodes=200))
    model = run.adapt(only(Bandit(arms=5), arms=[0.1, 0.2, 0.9, 0.3, 0.1]))  # the third pays most often
    model.save(run.folder / "adapted")
    agent, reward = qs.load(run.folder / "adapted"), None
    for pull in range(10):
        arm = int(agent.act([1.0]) if reward is None else agent.act([1.0], reward=reward))
        reward = float(arm == 2)
        print(f"pull {pull + 1}: arm {arm + 1}, which brings {reward:.0f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
