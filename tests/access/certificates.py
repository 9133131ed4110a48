"""A certificate authority for tests, and a proxy that speaks TLS in front of a server that does not."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Pair(NamedTuple):
    """Paths of a certificate and its key."""

    certificate: str
    key: str


class Authority:
    """Issues certificates into a folder; ``path`` is its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self._name, self._name, self._key.public_key(), 0, 2)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.path = _write(folder / f"{name}.pem", builder.sign(self._key, hashes.SHA256()))

    def issue(
        self, name: str, host: str = "127.0.0.1", *, first: int = 0, last: int = 2, password: str = ""
    ) -> Pair:
        """A certificate for a host name or address, valid from the first to the last day, counted from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._name, key.public_key(), first, last)
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        encryption = serialization.NoEncryption() if not password else _encryption(password)
        path = self._folder / f"{name}.key"
        path.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        return Pair(_write(self._folder / f"{name}.crt", builder.sign(self._key, hashes.SHA256())), str(path))


def _encryption(password: str) -> serialization.KeySerializationEncryption:
    return serialization.BestAvailableEncryption(password.encode())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, first: int, last: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now + (first - 1) * _DAY).not_valid_after(now + last * _DAY)


def _write(path: Path, certificate: x509.Certificate) -> str:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return str(path)


class TlsProxy:
    """Speaks TLS on a port of loopback and forwards to a server that does not, as a context manager.

    Args:
      target: ``host:port`` of the server.
      pair: its certificate.
      clients: path of the authority whose clients it lets in; None asks for no certificate.
      protocol: ``"h2"`` for gRPC, ``"http/1.1"`` for REST.

    ``address`` is where it listens.
    """

    def __init__(self, target: str, pair: Pair, clients: str | None = None, protocol: str = "http/1.1") -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*pair)
        self._context.set_alpn_protocols([protocol])
        if clients:
            self._context.load_verify_locations(clients)
            self._context.verify_mode = ssl.CERT_REQUIRED

    def __enter__(self) -> TlsProxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            plain.settimeout(30)
            with self._context.wrap_socket(plain, server_side=True) as client:
                first = client.recv(65536)
                # A client that refuses the certificate says nothing. Of a connection on which nothing was said, a gRPC
                # server that stops just then dies by a segmentation fault.
                if first:
                    self._forward(client, first)

    def _forward(self, client: ssl.SSLSocket, first: bytes) -> None:
        """Pass on what both sides say, in one thread: an object of ssl is not for two at a time."""
        with socket.create_connection(self._target) as server:
            server.sendall(first)
            client.settimeout(0.005)
            server.settimeout(0.005)
            while self._pass_on(client, server) and self._pass_on(server, client):
                pass

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> bool:
        """Forward what there is; false at the end."""
        try:
            data = source.recv(65536)
        except TimeoutError:
            return True
        sink.settimeout(30)
        sink.sendall(data)
        sink.settimeout(0.005)
        return bool(data)
