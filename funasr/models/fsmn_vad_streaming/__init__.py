"""Upstream's import path of `DynamicStreamingVAD`; the network is in `funasr.models.fsmn_vad`."""
