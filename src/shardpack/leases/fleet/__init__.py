"""How a leader shares the leases out, as the KCL 3.x does it.

`settings` says what may be set. `states` says what the workers tell each other: who leads, who is there and how busy,
and which way of sharing holds. `assigning`, `counting` and `loads` decide who gets which lease, without I/O. `items`
says what all that looks like in DynamoDB, and `tables` reads and writes it. May import what `leases` may.
"""
