"""aioapns (PyPI) against the simulated APNs: both environments, what is accepted, and what is refused."""
import rewire  # noqa: F401, must come before anything that opens a connection

import asyncio
import logging
import os
import ssl

from aioapns import APNs, NotificationRequest, PushType

from course import DEV, SIMULATORS, control, done, expect, secret, step

logging.disable(logging.CRITICAL)
TOPIC = SIMULATORS["apns"]["topic"]
TOKEN = "d1" * 32
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)


def client(sandbox, **change):
    async def make():
        context = ssl.create_default_context(cafile=os.path.join(DEV, "ca.pem"))
        context.set_alpn_protocols(["h2"])
        key = dict(key=secret("apns.p8"), key_id=SIMULATORS["apns"]["kid"], team_id=SIMULATORS["apns"]["team"])
        return APNs(topic=TOPIC, use_sandbox=sandbox, ssl_context=context, **{**key, **change})

    return loop.run_until_complete(make())


def push(by, token=TOKEN, message=None, **more):
    request = NotificationRequest(device_token=token, message=message or {"aps": {"alert": "Hello", "badge": 1}}, **more)
    return loop.run_until_complete(asyncio.wait_for(by.send_notification(request), 15))


production = client(False)
sandbox = client(True)


@step("pushes an alert")
def _():
    result = push(production, push_type=PushType.ALERT, priority=10, time_to_live=60)
    expect(result.is_successful, (result.status, result.description))


@step("pushes fifty at once, though the first connection allows one until it has been answered")
def _():
    async def all_of_them():
        requests = [NotificationRequest(device_token=f"{n:064x}", message={"aps": {"badge": n}}) for n in range(1, 51)]
        return await asyncio.gather(*[production.send_notification(request) for request in requests])

    results = loop.run_until_complete(asyncio.wait_for(all_of_them(), 30))
    expect(all(result.is_successful for result in results), [result.description for result in results if not result.is_successful])
    return f"{len(results)} accepted"


def refused(what, status, description, **how):
    by = how.pop("by", production)

    @step(what)
    def _():
        result = push(by, **how)
        expect((result.status, result.description) == (status, description), (result.status, result.description))
        return f"{status} {description}"


refused("is refused for a token of the other environment", "400", "BadDeviceToken", by=sandbox)
control("/devices/gone", provider="apns", token="d2" * 32)
refused("is refused for a phone that is gone", "410", "Unregistered", token="d2" * 32)
refused("is refused for a token that is none", "400", "BadDeviceToken", token="no-token")
refused("is refused for a type of another topic", "400", "InvalidPushType", push_type=PushType.VOIP)
refused("is refused for a topic that its key is not for", "400", "TopicDisallowed", apns_topic="com.example.other")
refused("is refused for a payload that is too large", "413", "PayloadTooLarge", message={"aps": {"alert": "x" * 5000}})


@step("takes a token of the sandbox there")
def _():
    result = push(sandbox, token="d3" * 32)
    expect(result.is_successful, (result.status, result.description))


@step("is refused with the key of another team")
def _():
    result = push(client(False, team_id="OTHERTEAM1"))
    expect((result.status, result.description) == ("403", "InvalidProviderToken"), (result.status, result.description))
    return f"{result.status} {result.description}"


done()
