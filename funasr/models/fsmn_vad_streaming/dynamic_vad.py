"""Upstream's import path; the class is in `funasr.stages.dynamic_vad`."""

from funasr.stages.dynamic_vad import DynamicStreamingVAD as DynamicStreamingVAD
