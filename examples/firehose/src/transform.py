"""Clicks on their way to the bucket: those of bots are left out, the others get their key.

With a stream as its source, Firehose takes aggregates apart before it calls the function; where one comes all the
same, from a direct put or out of an archive, `transform` does.
"""

import json

from shardpack.firehose import transform


def handler(event, context):
    return transform(event, enrich)


def enrich(record):
    click = json.loads(record.data)
    if click.get("bot"):
        return None
    click["user"] = record.partition_key
    return json.dumps(click).encode()
