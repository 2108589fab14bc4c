"""A server with TLS serves only clients that trust its certificate."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from antrian.local.stack import Stack
from antrian.v1.messages_pb2 import BOOKING_STATE_CONFIRMED
from clients.cli.main import main
from clients.sdk.booking_client import BookingClient, RefusedError
from tests.acceptance.conftest import StartStack
from tests.acceptance.person import PUSAT, Crowd


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Antrian of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate file; its key is in the same folder."""
    return write_certificate(tmp_path_factory.mktemp("tls"))[0]


@pytest.fixture(scope="module")
def trusting(ca: Path) -> grpc.ChannelCredentials:
    """Credentials of a client that trusts the certificate."""
    return grpc.ssl_channel_credentials(ca.read_bytes())


@pytest.fixture(scope="module")
def secured(ca: Path, start_stack: StartStack, opens: datetime) -> Stack:
    """An Antrian with TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_TLS_CERT_FILE", str(ca))
        patch.setenv("ANTRIAN_TLS_KEY_FILE", str(ca.with_name("key.pem")))
        return start_stack(opens + timedelta(minutes=1))


async def test_a_client_that_trusts_the_certificate_can_book(
    secured: Stack, trusting: grpc.ChannelCredentials, crowd: Crowd
) -> None:
    async with BookingClient(secured.address, credentials=trusting) as client:
        request = crowd.request()
        booking = await client.send(request)
        outcome = await client.outcome(booking.booking_id, request.account)
    assert outcome.state == BOOKING_STATE_CONFIRMED


@pytest.mark.parametrize("credentials", [None, grpc.ssl_channel_credentials()], ids=["plaintext", "another CA"])
async def test_plaintext_and_untrusting_clients_are_not_served(
    secured: Stack, crowd: Crowd, credentials: grpc.ChannelCredentials | None
) -> None:
    async with BookingClient(secured.address, credentials=credentials, patience=timedelta(0)) as client:
        with pytest.raises(RefusedError, match="UNAVAILABLE"):
            await client.send(crowd.request())


def test_commands_use_tls_when_given_the_ca(secured: Stack, ca: Path) -> None:
    words = ["quota", PUSAT, "--target", secured.address, "--json"]
    response = CliRunner().invoke(main, [*words, "--ca", str(ca)])
    assert response.exit_code == 0
    assert json.loads(response.stdout)["office_id"] == PUSAT
    assert CliRunner().invoke(main, words, env={"ANTRIAN_CA": str(ca)}).exit_code == 0


async def serves(stack: Stack, credentials: grpc.ChannelCredentials) -> bool:
    """Whether a new connection with these credentials is served."""
    async with BookingClient(stack.address, credentials=credentials, patience=timedelta(0)) as client:
        try:
            await client.get_quota(PUSAT)
        except RefusedError as refusal:
            if refusal.reason != "UNAVAILABLE":
                raise
            return False
    return True


async def test_clients_need_a_certificate_and_changed_files_are_used_without_a_restart(
    tmp_path: Path, start_stack: StartStack, opens: datetime
) -> None:
    folders = {name: tmp_path / name for name in ("server", "client", "stranger", "next")}
    for folder in folders.values():
        folder.mkdir()
        write_certificate(folder)
    server = folders["server"]

    def credentials(client: str, trusted: Path = server) -> grpc.ChannelCredentials:
        folder = folders[client]
        key, certificate = (folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes()
        return grpc.ssl_channel_credentials((trusted / "cert.pem").read_bytes(), key, certificate)

    clients = tmp_path / "clients.pem"
    clients.write_bytes((folders["client"] / "cert.pem").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTRIAN_TLS_CERT_FILE", str(server / "cert.pem"))
        patch.setenv("ANTRIAN_TLS_KEY_FILE", str(server / "key.pem"))
        patch.setenv("ANTRIAN_TLS_CLIENT_CA_FILE", str(clients))
        stack = start_stack(opens + timedelta(minutes=1))
    assert await serves(stack, credentials("client"))
    assert not await serves(stack, credentials("stranger"))
    assert not await serves(stack, grpc.ssl_channel_credentials((server / "cert.pem").read_bytes()))

    clients.write_bytes((folders["stranger"] / "cert.pem").read_bytes())
    assert await serves(stack, credentials("stranger"))
    assert not await serves(stack, credentials("client"))

    before = credentials("stranger")
    (server / "cert.pem").write_bytes((folders["next"] / "cert.pem").read_bytes())  # the key is still the old one
    assert await serves(stack, before)
    (server / "key.pem").write_bytes((folders["next"] / "key.pem").read_bytes())
    assert await serves(stack, credentials("stranger", folders["next"]))
    assert not await serves(stack, before)
