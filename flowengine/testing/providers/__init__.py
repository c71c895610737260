"""Fake speech and LLM vendors on loopback, speaking the vendors' published wire formats.

In reading order: `serving` (a server with scripted faults and a list of protocol violations),
`speech` (tagged speech-like audio), `deepgram`, `openai`, `elevenlabs`. Point a provider's base
URL at `url` of one of them; whatever a client sends that the vendor would not take is in
`violations`.
"""
