"""Maps made of sums of sigmoids: mixtures of logistics, deep and dense sigmoidal flows."""

from pushforward.maps.sigmoidal.deep_sigmoidal import DeepSigmoidal
from pushforward.maps.sigmoidal.dense_sigmoidal import DenseSigmoidal
from pushforward.maps.sigmoidal.logistic_mixture import LogisticMixture

__all__ = ["DeepSigmoidal", "DenseSigmoidal", "LogisticMixture"]
