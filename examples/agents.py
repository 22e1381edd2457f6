"""My agents: train over slot machines that differ, then find out in a few pulls which arm of a new one pays best.

python examples/agents.py       # 60 steps, a minute
python examples/agents.py 300   # longer
"""

import sys
from dataclasses import replace

import quickstudy as qs
from quickstudy.rl import Bandit, only


def main(iterations: int = 60) -> None:
    run = qs.train(replace(qs.recipes.rl_bandit(), name="slots", meta_batch=128, iterations=iterations), overwrite=True)
    print(run.evaluate(episodes=200))
    model = run.adapt(only(Bandit(arms=5), arms=[0.1, 0.2, 0.9, 0.3, 0.1]))  # the third pays most often
    model.save("my-agent")
    agent, reward = qs.load("my-agent"), None
    for pull in range(10):
        arm = int(agent.act([1.0]) if reward is None else agent.act([1.0], reward=reward))
        reward = float(arm == 2)
        print(f"pull {pull + 1}: arm {arm + 1}, which brings {reward:.0f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
