"""How a worker shares the leases with others: which it creates, takes, asks for, gives away and deletes.

Decisions only. `coordinator` is the whole. `listings` says when to look around, `creating` which leases are missing,
`coming` which leases are on their way to this worker, `changes` which calls are under way, and `leaving` to whom the
leases of a worker go that ends. May import `core.fleet` and the modules beside this room that decide nothing.
"""
