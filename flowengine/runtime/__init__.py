"""How a call runs. In reading order: `turns`, `playout`, `keys`, `walk`, `drive` decide, purely;
`effects` is what they ask for; `playback`, `call`, `journal` carry it out; `lifecycle` is the
coarse status, `tools` (with `functions` and `egress`) acts on the world, `prompts` keeps speech;
`routing` and `supervisor` look after many calls.
"""
