"""How a call runs. In reading order: `turns`, `playout`, `keys`, `walk`, `drive` decide, purely;
`effects` is what they ask for; `playback`, `call`, `journal` carry it out; `lifecycle` is the
coarse status, `tools` (with `functions` and `egress`) acts on the world, `prompts` keeps speech;
`supervisor` looks after many calls. `routes` (with `route_when`) is what a routing table may say,
`routing` decides over one, `route_explaining` says why, `route_asking` asks a webhook.
"""
