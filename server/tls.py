"""The server's TLS: its certificate, and the CAs of its clients' certificates, read again when a file has changed."""

import logging
import ssl
from pathlib import Path

import grpc

from antrian.settings import SettingsError, read_certificates
from server.file_version import file_version

_log = logging.getLogger(__name__)


class Certificates:
    """The certificate, its key and the clients' CAs, as gRPC asks for them at each handshake."""

    def __init__(self, cert_file: Path, key_file: Path, client_ca_file: Path | None) -> None:
        self._cert_file, self._key_file, self._client_ca_file = cert_file, key_file, client_ca_file
        self._version = self._versions()
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Returns credentials for a port. With clients' CAs, a client without a certificate cannot connect."""
        return grpc.dynamic_ssl_server_credentials(
            self._current,
            self._changed,  # type: ignore[arg-type] # None is allowed, and means that nothing has changed
            require_client_authentication=self._client_ca_file is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns the configuration if it has changed since the last handshake. gRPC calls this in a thread of its own.

        Keeps the files' former content and logs an error if they do not fit together, such as while one of them is written.
        """
        if (version := self._versions()) == self._version:
            return None
        self._version = version
        try:
            self._current = self._read()
        except (OSError, SettingsError) as error:
            _log.error("the certificates stay as they were: %s", error)
            return None
        _log.info("read the certificate %s again", self._cert_file)
        return self._current

    def _versions(self) -> list[tuple[int, ...]]:
        return [file_version(file) for file in (self._cert_file, self._key_file, self._client_ca_file)]

    def _read(self) -> grpc.ServerCertificateConfiguration:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._cert_file, self._key_file, str)
        pair = (self._key_file.read_bytes(), self._cert_file.read_bytes())
        clients = read_certificates(self._client_ca_file) if self._client_ca_file else None
        return grpc.ssl_server_certificate_configuration([pair], clients)
