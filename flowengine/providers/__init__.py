"""Vendors of speech and LLMs behind the ports, and the supervision that all of them run under.

Reading order: `settings` and `registry` (found by name, made once), then a vendor's file
(`deepgram`, `openai`, `elevenlabs`, `local`), over `faults`, `sockets`, `sse`, `chat` and
`alignment`; then `supervision` with `recovery`, `hearing` and `speaking`, under `deadlines`.
"""
