"""exchangelib (PyPI) against the simulated Exchange: log on, find the mailbox, read, sync, hear of new mail, and be refused."""
import rewire  # must come before anything that opens a connection

import threading
import warnings

import exchangelib
import requests
from exchangelib import BASIC, IMPERSONATION, OAUTH2, Account, Configuration, Credentials, OAuth2Credentials
from exchangelib.errors import (
    ErrorImpersonateUserDenied,
    ErrorInvalidIdMalformed,
    ErrorInvalidOperation,
    ErrorNonExistentMailbox,
    ErrorSubscriptionNotFound,
    UnauthorizedError,
)
from exchangelib.items import Message
from exchangelib.properties import ItemId
from exchangelib.protocol import FailFast
from exchangelib.version import EXCHANGE_2016

from course import SIMULATORS, control, done, expect, secret, step

warnings.simplefilter("ignore")
rewire.rewire_dns()
USER = "user1@example.com"
EWS = SIMULATORS["endpoints"]["ews"]
BASIC_USER = SIMULATORS["basic"]["user"]


def basic(user=BASIC_USER, password=None, **more):
    credentials = Credentials(user, password or secret("basic-password"))
    return Configuration(service_endpoint=EWS, credentials=credentials, auth_type=BASIC, retry_policy=FailFast(), **more)


def account(smtp, config):
    return Account(smtp, config=config, autodiscover=False, access_type=IMPERSONATION)


@step("asks which ways of logging on there are")
def _():
    offered = requests.get(EWS, timeout=10).headers["www-authenticate"]
    expect(all(scheme in offered for scheme in ("Negotiate", "NTLM", "Basic")), offered)
    return offered


anna = account(USER, basic())


@step("finds out the server's version")
def _():
    expect(anna.version.build >= EXCHANGE_2016, anna.version)
    return anna.version


@step("resolves a name")
def _():
    found = anna.protocol.resolve_names(["user2"], return_full_contact_data=True)
    mailbox, contact = found[0]
    expect(mailbox.email_address == "user2@example.com", found)
    return f"{mailbox.email_address} ({contact.display_name})"


sent = [control("/mail", to=USER, subject=f"Subject {n}", preview=f"Text {n}")["id"] for n in range(3)]


@step("finds the inbox and its counts")
def _():
    inbox = anna.inbox
    inbox.refresh()
    expect(inbox.total_count >= 3 and inbox.unread_count >= 3, (inbox.total_count, inbox.unread_count))
    return f"{inbox.unread_count} unread of {inbox.total_count}"


@step("reads the newest mails")
def _():
    found = list(anna.inbox.all().order_by("-datetime_received")[:3])
    expect({item.id for item in found} == set(sent), [item.subject for item in found])
    expect(all(isinstance(item, Message) and item.sender.email_address for item in found), found)
    oldest = list(anna.inbox.all().order_by("datetime_received").only("subject", "datetime_received")[:1])
    expect(len(oldest) == 1, oldest)
    return ", ".join(sorted(item.subject for item in found))


@step("fetches items by id, also ones that do not exist")
def _():
    item, malformed = list(anna.fetch(ids=[ItemId(id=sent[0]), ItemId(id="no id")], only_fields=["subject", "is_read"]))
    expect(item.subject == "Subject 0" and item.is_read is False, item)
    expect(isinstance(malformed, ErrorInvalidIdMalformed), malformed)
    return type(malformed).__name__


@step("syncs the inbox twice")
def _():
    first = list(anna.inbox.sync_items(only_fields=["subject", "is_read"]))
    expect({change for change, _ in first} == {"create"} and len(first) >= 3, first)
    control("/mail/read", to=USER, id=sent[0])
    second = list(anna.inbox.sync_items(only_fields=["subject", "is_read"]))
    expect([change for change, _ in second] == ["read_flag_change"], second)
    return f"{len(first)} created, then one marked read"


@step("hears of new mail by a stream")
def _():
    id_ = anna.inbox.subscribe_to_streaming()
    timer = threading.Timer(0.5, lambda: control("/mail", to=USER, subject="Streamed"))
    timer.start()
    kinds = []
    for notification in anna.inbox.get_streaming_events(id_, connection_timeout=1, max_notifications_returned=1):
        kinds += [type(event).__name__ for event in notification.events]
    timer.join()
    anna.inbox.unsubscribe(id_)
    expect("NewMailEvent" in kinds, kinds)
    return ", ".join(kinds)


@step("hears of new mail by pulling, until it unsubscribes")
def _():
    id_, watermark = anna.inbox.subscribe_to_pull()
    [idle] = list(anna.inbox.get_events(id_, watermark))
    expect([type(event).__name__ for event in idle.events] == ["StatusEvent"], idle)
    control("/mail", to=USER, subject="Pulled")
    [notification] = list(anna.inbox.get_events(id_, watermark))
    kinds = [type(event).__name__ for event in notification.events]
    anna.inbox.unsubscribe(id_)
    try:
        list(anna.inbox.get_events(id_, watermark))
        raise AssertionError("the subscription is still there")
    except ErrorSubscriptionNotFound:
        return ", ".join(kinds)


@step("is told properly what is not simulated")
def _():
    try:
        Message(account=anna, folder=anna.inbox, subject="x").save()
        raise AssertionError("saved")
    except ErrorInvalidOperation as error:
        return type(error).__name__


def refused(what, error_type, make):
    @step(what)
    def _():
        try:
            make().inbox.refresh()
            raise AssertionError("let in")
        except error_type as error:
            return type(error).__name__


refused("is refused with a wrong password", UnauthorizedError, lambda: account(USER, basic(password="wrong")))
refused("is refused without the right to impersonate", ErrorImpersonateUserDenied, lambda: account(USER, basic(SIMULATORS["basic"]["without_impersonation"])))
refused("is refused for a mailbox that does not exist", ErrorNonExistentMailbox, lambda: account("nobody@example.com", basic()))


@step("prefers NTLM where it is offered, goes through the handshake and is refused")
def _():
    config = Configuration(service_endpoint=EWS, credentials=Credentials("CORP\\windows", "x"), retry_policy=FailFast())
    windows = account(USER, config)
    try:
        windows.inbox.refresh()
        raise AssertionError("let in")
    except UnauthorizedError as error:
        expect(windows.protocol.auth_type == "NTLM", windows.protocol.auth_type)
        return type(error).__name__


def application():
    oauth = SIMULATORS["oauth"]
    return OAuth2Credentials(
        client_id=oauth["client_id"],
        client_secret=secret("oauth-client-secret"),
        tenant_id=oauth["tenant"],
        identity=exchangelib.Identity(primary_smtp_address=USER),
    )


@step("logs on with a token, its secret in the header")
def _():
    config = Configuration(service_endpoint=EWS, credentials=application(), auth_type=OAUTH2)
    inbox = account(USER, config).inbox
    expect(inbox.total_count >= 3, inbox)
    return f"{inbox.total_count} mails"


@step("discovers the address of its server")
def _():
    found = Account(USER, credentials=application(), autodiscover=True, access_type=IMPERSONATION)
    expect(found.protocol.service_endpoint == EWS, found.protocol.service_endpoint)
    return found.protocol.service_endpoint


done()
