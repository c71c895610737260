"""The flow language: what a flow document may say and what it means; no node, no I/O, no clock.

Reading order: `types` (field types), `kind` (what a node kind is), `document` (the models),
`expressions` (CEL), `templates` and `program` (a compiled version), `edges` (which edge is taken),
`values` (what a variable accepts), `language` (parse, schema, compile), then `checks`.
"""
