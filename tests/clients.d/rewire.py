"""Lets a client that knows only its provider's real address reach the simulator that stands for it.

The client stays as it is: only the names that its process looks up lead elsewhere. TLS still checks the name that the client asked for.
"""
import socket

PORTS = {
    "autodiscover.example.com": 9443,
    "login.microsoftonline.com": 9444,
    "api.push.apple.com": 9445,
    "api.development.push.apple.com": 9448,
    "fcm.googleapis.com": 9446,
    "oauth2.googleapis.com": 9446,
}
LOCAL = {"localhost", "127.0.0.1"}

real = socket.getaddrinfo


def getaddrinfo(host, port, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    if name in PORTS:
        return real("127.0.0.1", PORTS[name], *rest, **named)
    if name not in LOCAL:
        raise socket.gaierror(socket.EAI_NONAME, f"{name} is not simulated")
    return real(host, port, *rest, **named)


socket.getaddrinfo = getaddrinfo


def rewire_dns():
    """The same for clients that bring their own resolver, dnspython."""
    import dns.resolver

    def resolve(self, name, kind="A", *rest, **named):
        name = str(name).rstrip(".")
        if kind == "A" and name in PORTS:
            return ["127.0.0.1"]
        raise dns.resolver.NXDOMAIN()

    dns.resolver.Resolver.resolve = resolve
