"""What speaks to AWS: the only room that knows how a client is made and what a service's error means.

`client` makes Kinesis clients, `streams` makes the calls about a stream that producer and consumer share, and `errors`
says which errors a retry can mend, and how long to wait before it. May import `errors` and `limits`.
"""
