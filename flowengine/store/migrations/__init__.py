"""The steps by which a database comes to the tables of `store.tables` (Alembic).

A step that was released is never changed; what it made is changed by the next one.
"""
