"""How messages name what their reader can change: each way in has options of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """Parts of messages. These are for functions of Python.

    Attributes:
        extra: what to install for a client.
        name: the option that names the stream.
        stream: the options that say which stream it is, and where.
        place: those that say where.
        endpoint: the one that names the service's URL.
        marks: what said how far the stream had been read.
        another: what to do where that is of another stream.
        anew: what to do where that is of a stream that is no more.
        no_region: what is missing where no region is known, and how to give one.
        allow: what to do where a call is not allowed.
        credentials: what to do where there are no credentials.
        go_on: how to read on without records that are lost.
        gone_on: that it is so.
    """

    extra: str = "shardpack[aws]"
    name: str = "stream"
    stream: str = "stream, region_name and endpoint_url"
    place: str = "region_name and endpoint_url"
    endpoint: str = "endpoint_url"
    marks: str = "after"
    another: str = "give the positions of this stream"
    anew: str = "Read it from its start"
    no_region: str = (
        'no region_name is given, and the AWS SDK finds none: region_name="eu-west-1", or set AWS_DEFAULT_REGION'
    )
    allow: str = "give the role or user this permission, or others' credentials with profile_name"
    credentials: str = "choose a profile with profile_name, set AWS_ACCESS_KEY_ID, or give the machine a role"
    go_on: str = "set fail_on_data_loss=False"
    gone_on: str = "fail_on_data_loss is False"


PYTHON = Words()
