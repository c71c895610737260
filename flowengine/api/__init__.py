"""The engine's HTTP side: carriers' webhooks and sockets, health, the server.

In reading order: `app` (what is mounted where), `webhooks` and `sockets` (carriers' doors),
`server` (uvicorn as we run it).
"""
