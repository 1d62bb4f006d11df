"""The composed model, known to the Auto classes once this package is imported."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForMultimodalLM, AutoProcessor

from affectllm.models.families.affect.configuration_affect import AffectConfig
from affectllm.models.families.affect.modeling_affect import AffectForConditionalGeneration, AffectModel
from affectllm.models.families.affect.processing_affect import AffectFeatureExtractor, AffectProcessor

AutoConfig.register("affectllm", AffectConfig)
AutoModel.register(AffectConfig, AffectModel)
AutoModelForMultimodalLM.register(AffectConfig, AffectForConditionalGeneration)
AutoFeatureExtractor.register(AffectConfig, AffectFeatureExtractor)
AutoProcessor.register(AffectConfig, AffectProcessor)

__all__ = ["AffectConfig", "AffectFeatureExtractor", "AffectForConditionalGeneration", "AffectModel", "AffectProcessor"]
