"""Recipes: plain functions that return a whole run, with every number needed to repeat what we publish."""

from quickstudy.recipes.agents import (
    rl_arcade_rl2,
    rl_bandit,
    rl_cheetah_rl2,
    rl_gridworld,
    rl_highway_rl2,
    rl_mdp,
    rl_point_maml,
    rl_reacher_rl2,
)
from quickstudy.recipes.demo import demo, demo_glyphs
from quickstudy.recipes.omniglot import (
    omniglot_lake,
    omniglot_lake_minimal_1,
    omniglot_lake_minimal_2,
    omniglot_maml_5w1s,
    omniglot_protonet,
)
from quickstudy.recipes.own import forecast, masks, photos, rows, rows_numbers, text, unlabelled
from quickstudy.recipes.readers import (
    gp_incontext,
    omniglot_incontext,
    omniglot_lstm,
    omniglot_mann,
    runtimes,
    sinusoid_incontext,
    sinusoid_incontext_frequency,
    tables,
    tables_incontext,
    tables_numbers,
)
from quickstudy.recipes.series import lines_lstm
from quickstudy.recipes.shipped import handwriting
from quickstudy.recipes.small import linear_maml, sinusoid_maml, sinusoid_metasgd, sinusoid_metasgd_baseline
from quickstudy.recipes.sound import audio, audio_embedding, transcripts

__all__ = [
    "audio",
    "audio_embedding",
    "demo",
    "demo_glyphs",
    "forecast",
    "gp_incontext",
    "handwriting",
    "linear_maml",
    "lines_lstm",
    "masks",
    "omniglot_incontext",
    "omniglot_lake",
    "omniglot_lake_minimal_1",
    "omniglot_lake_minimal_2",
    "omniglot_lstm",
    "omniglot_maml_5w1s",
    "omniglot_mann",
    "omniglot_protonet",
    "photos",
    "rl_arcade_rl2",
    "rl_bandit",
    "rl_cheetah_rl2",
    "rl_gridworld",
    "rl_highway_rl2",
    "rl_mdp",
    "rl_point_maml",
    "rl_reacher_rl2",
    "rows",
    "rows_numbers",
    "runtimes",
    "sinusoid_incontext",
    "sinusoid_incontext_frequency",
    "sinusoid_maml",
    "sinusoid_metasgd",
    "sinusoid_metasgd_baseline",
    "tables",
    "tables_incontext",
    "tables_numbers",
    "text",
    "transcripts",
    "unlabelled",
]
