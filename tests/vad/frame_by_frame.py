"""The state machine of fsmn-vad as its description reads, frame by frame: the endpointer's oracle."""

from __future__ import annotations

from collections import deque

from funasr.vad.options import VadOptions


def segments(p_silence: list[float], options: VadOptions) -> list[tuple[int, int]]:
    """[(start_ms, end_ms)] of a whole recording, `dynamic_silence` and energy gates left out."""
    window = deque([0] * (options.window_size_ms // 10), maxlen=options.window_size_ms // 10)
    latency = len(window) + (options.lookback_time_start_point // 10 if options.do_extend else 0)
    end_ms = options.max_end_silence_time - options.speech_to_sil_time_thres
    lookahead = options.lookahead_time_end_point // 10
    found: list[tuple[int, int]] = []
    speaking, state, silent, start, floor = False, "waiting", 0, 0, 0
    for t, p in enumerate(p_silence):
        if state == "ended":
            break
        last = t == len(p_silence) - 1
        window.append(int((1 - p) >= p**options.speech_2_noise_ratio + options.speech_noise_thres))
        before = speaking
        if not speaking and sum(window) >= options.sil_to_speech_time_thres // 10:
            speaking = True
        elif speaking and sum(window) <= options.speech_to_sil_time_thres // 10:
            speaking = False
        close: int | None = None
        too_long = t - start + 1 > options.max_single_segment_time / 10
        if before or speaking:
            silent = 0
            if state == "waiting":
                start, state = max(floor, t - latency), "speech"
                close = t if last else None
            elif too_long or last:
                close = t
        else:
            silent += 1
            if state == "waiting":
                if options.detect_mode == 0 and silent * 10 > options.max_start_silence_time:
                    state = "ended"
                elif t >= latency:
                    floor = max(floor, t - latency)
            elif silent * 10 >= end_ms:
                back = int(end_ms / 10)
                if options.do_extend:
                    back -= lookahead + 1
                close = t - max(0, back)
            elif too_long or last:
                close = t
        if close is not None:
            found.append((start * 10, (close + 1) * 10))
            window.extend([0] * len(window))
            speaking, silent, floor = False, 0, close + 1
            state = "ended" if options.detect_mode == 0 else "waiting"
    return found
