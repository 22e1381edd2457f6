"""Learners: the contract (`base`), one family a file, and the named algorithms as short constructors."""

from quickstudy.learners.adapters import AdapterLearner, film, tsa
from quickstudy.learners.base import Learner
from quickstudy.learners.decoder import DecoderLearner, decoder
from quickstudy.learners.embedding import EmbeddingLearner, lrd2, matchingnet, meta_baseline, protonet, r2d2
from quickstudy.learners.feat import FEATLearner, feat
from quickstudy.learners.frozen import frozen
from quickstudy.learners.gradient import GradientLearner
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.learners.maml_family import anil, cavia, fomaml, imaml, maml, metasgd, reptile
from quickstudy.learners.memory import MemoryLearner, memory
from quickstudy.learners.network import Network, Norm
from quickstudy.learners.pretrained import FineTuning, PretrainedEmbedding
from quickstudy.learners.pretrained_family import baseline_plus_plus, finetune, rfs, simpleshot
from quickstudy.learners.reader import ReaderLearner
from quickstudy.learners.reader_family import anp, cnp, incontext, lstm, mann, snail
from quickstudy.learners.relation import RelationLearner, relationnet
from quickstudy.learners.semi import semi_protonet

__all__ = [
    "AdapterLearner",
    "DecoderLearner",
    "EmbeddingLearner",
    "FEATLearner",
    "FineTuning",
    "GradientLearner",
    "IterativeLearner",
    "Learner",
    "MemoryLearner",
    "Network",
    "Norm",
    "PretrainedEmbedding",
    "ReaderLearner",
    "RelationLearner",
    "anil",
    "anp",
    "baseline_plus_plus",
    "cavia",
    "cnp",
    "decoder",
    "feat",
    "film",
    "finetune",
    "fomaml",
    "frozen",
    "imaml",
    "incontext",
    "lrd2",
    "lstm",
    "maml",
    "mann",
    "matchingnet",
    "memory",
    "meta_baseline",
    "metasgd",
    "protonet",
    "r2d2",
    "relationnet",
    "reptile",
    "rfs",
    "semi_protonet",
    "simpleshot",
    "snail",
    "tsa",
]
