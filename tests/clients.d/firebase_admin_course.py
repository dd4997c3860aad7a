"""firebase-admin (PyPI) against the simulated FCM: token endpoint, single messages, batches, and refusals."""
import rewire  # noqa: F401, must come before anything that opens a connection

import datetime
import os

import firebase_admin
from firebase_admin import credentials, exceptions, messaging

from course import DEV, control, done, expect, step

firebase_admin.initialize_app(credentials.Certificate(os.path.join(DEV, "fcm.json")))


def message(token, **more):
    notification = messaging.AndroidNotification(
        tag="t",
        channel_id="mail",
        notification_count=3,
        vibrate_timings_millis=[100, 50],
        priority="high",
        visibility="private",
        event_timestamp=datetime.datetime.now(),
        light_settings=messaging.LightSettings(color="#aabbcc", light_on_duration_millis=300, light_off_duration_millis=300),
        proxy="allow",
    )
    android = messaging.AndroidConfig(priority="high", ttl=3600, collapse_key="k", notification=notification, direct_boot_ok=True)
    return messaging.Message(token=token, notification=messaging.Notification("Ann", "Hello"), android=android, **more)


@step("sends a message with every field that it knows")
def _():
    name = messaging.send(message("python-one", data={"a": "b"}))
    expect(name.startswith("projects/example-mail/messages/"), name)


@step("sends a batch")
def _():
    answer = messaging.send_each([message(f"python-{n}") for n in range(20)])
    expect(answer.success_count == 20, [str(response.exception) for response in answer.responses])
    return f"{answer.success_count} accepted"


@step("sends to a topic, and tries a message without sending it")
def _():
    messaging.send(messaging.Message(topic="news", notification=messaging.Notification("x")))
    messaging.send(message("python-one"), dry_run=True)


def refused(what, kind, token):
    @step(what)
    def _():
        try:
            messaging.send(message(token))
            raise AssertionError("accepted")
        except kind as error:
            return f"{type(error).__name__} {error.code}"


refused("is refused for a token that is none", exceptions.InvalidArgumentError, "no token!")
control("/devices/gone", provider="fcm", token="python-gone")
refused("is refused for a phone that is gone", messaging.UnregisteredError, "python-gone")

done()
