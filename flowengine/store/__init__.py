"""Where calls, their journals and their checkpoints are kept (the port `ports.CallStore`).

In reading order: `schema` (tables, migrations, connections), `rows` (what a row says),
`writer` (the one thread that writes), `sqlite` (the store), `memory` (the same, kept nowhere).
"""
