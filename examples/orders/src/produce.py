"""POST /orders: a JSON array of orders, each with an id and a user, into the stream, aggregated.

`sp.pack` divides each shard into lanes by user: aggregates of different lanes have different partition keys, which is
what the ParallelizationFactor of the mapping goes by, and the orders of a user stay in their order.
"""

import base64
import json
import os
import time

import boto3

import shardpack as sp

STREAM = os.environ["STREAM"]
LANES = int(os.environ["LANES"])
kinesis = boto3.client("kinesis")


def handler(event, context):
    try:
        body = event["body"]
        orders = json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
        records = [(order["user"], json.dumps(order).encode()) for order in orders if order["id"]]
    except (KeyError, TypeError, ValueError) as error:
        return answer(400, {"error": f"give a JSON array of orders, each with an id and a user: {error!r}"})
    # The caller is told as long as the function can still tell.
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - 2
    left = store(records, deadline)
    return answer(503 if left else 201, {"stored": len(records) - left, "not_stored": left})


def store(records, deadline):
    """Put user records; how many are not stored when the time is over."""
    shards = sp.ShardMap(kinesis.list_shards(StreamName=STREAM, ShardFilter={"Type": "AT_LATEST"})["Shards"])
    packed = list(sp.pack(records, shard_map=shards, lanes=LANES))
    left = sum(one.user_record_count for one in packed)
    for request in sp.put_requests(packed):
        left_of_it, wait = request, 0.05
        while left_of_it is not None:
            response = kinesis.put_records(StreamName=STREAM, Records=left_of_it.entries)
            again = left_of_it.retry(response)
            left -= count(left_of_it) - count(again)
            if again is not None:
                if time.monotonic() + wait > deadline:
                    return left
                time.sleep(wait)
            left_of_it, wait = again, wait * 2
    return left


def count(request):
    return sum(one.user_record_count for one in request.records) if request else 0


def answer(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
