"""msal (PyPI) against the simulated identity provider: instance and tenant discovery, a secret, and a certificate in both spellings."""
import rewire  # noqa: F401, must come before anything that opens a connection

import hashlib
import ssl

import msal

from course import SIMULATORS, done, expect, secret, step

OAUTH = SIMULATORS["oauth"]
AUTHORITY = f"https://login.microsoftonline.com/{OAUTH['tenant']}"
EXCHANGE = ["https://outlook.office365.com/.default"]
PEM = secret("oauth-client.pem")
DER = ssl.PEM_cert_to_DER_cert(PEM)


def application(credential, authority=AUTHORITY, **more):
    return msal.ConfidentialClientApplication(OAUTH["client_id"], client_credential=credential, authority=authority, **more)


def granted(app, scopes=EXCHANGE):
    answer = app.acquire_token_for_client(scopes=scopes)
    expect("access_token" in answer, answer.get("error_description"))
    return f"{answer['token_type']} for {answer['expires_in']} s"


@step("gets a token with its secret")
def _():
    return granted(application(secret("oauth-client-secret")))


@step("gets a token with its certificate, named by SHA-1")
def _():
    return granted(application({"private_key": secret("oauth-client-key.pem"), "thumbprint": hashlib.sha1(DER).hexdigest()}))


@step("gets a token with its certificate, named by SHA-256")
def _():
    return granted(application({"private_key": secret("oauth-client-key.pem"), "public_certificate": PEM}))


@step("asks an authority that it does not know whether it is one")
def _():
    authority = f"{SIMULATORS['endpoints']['oauth_authority']}/{OAUTH['tenant']}"
    return granted(application(secret("oauth-client-secret"), authority, instance_discovery=False))


def refused(what, number, make, scopes=EXCHANGE):
    @step(what)
    def _():
        answer = make().acquire_token_for_client(scopes=scopes)
        expect(answer.get("error_codes") == [number], answer)
        return f"AADSTS{number} {answer['error']}"


refused("is refused with a wrong secret", 7000215, lambda: application("wrong"))
refused("is refused with another certificate", 700027, lambda: application({"private_key": secret("oauth-client-key.pem"), "thumbprint": "00" * 20}))
refused("is refused for a resource that does not exist", 500011, lambda: application(secret("oauth-client-secret")), ["https://nowhere.example/.default"])


@step("is refused for a tenant that does not exist")
def _():
    try:
        application(secret("oauth-client-secret"), "https://login.microsoftonline.com/nowhere.example").acquire_token_for_client(scopes=EXCHANGE)
        raise AssertionError("accepted")
    except ValueError as error:
        expect("nowhere" in str(error) or "tenant" in str(error).lower(), error)
        return type(error).__name__


done()
