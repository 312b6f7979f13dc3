"""A broker with an authorizer, one listener for passwords and one for certificates, and users with the rights given.

Law: on its plain listener everybody is a super user, which is the test's way in; on the others a user may do what was
granted and nothing else. Either way in is the same user to the authorizer.
"""

import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its public names, which it does not declare so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from armstream.access import Right
from deploy.kafka.broker import CACHE
from deploy.kafka.java import JavaBroker, find_jars, find_java
from deploy.kafka.node import Secured, free_port

WAYS = ("SCRAM", "MTLS")

_APPLIED_SECONDS = 20.0
_LITERAL = ResourcePatternType.LITERAL
_OPERATIONS = {
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
}
_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}


class Certificates:
    """Keys and certificates in a folder, NAME.key and NAME.pem, made with openssl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for authority in ("authority", "stranger"):
            subject = ("-x509", "-out", f"{authority}.pem", "-days", "2", "-subj", f"/CN={authority}")
            self._openssl("req", *subject, *self._new_key(authority))

    def make(self, name: str, user: str, *, by: str = "authority", days: int = 2, address: str = "") -> None:
        """Signed by `by`, expired where `days` is below 0. `address` is the server's."""
        self._openssl("req", "-out", f"{name}.csr", "-subj", f"/CN={user}", *self._new_key(name))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:{address}\n" if address else "")
        signer = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-extfile", str(extensions))
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", str(days), *signer)

    def text(self, file: str) -> str:
        return (self.folder / file).read_text()

    def _new_key(self, name: str) -> tuple[str, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=60)


class SecuredKafka:
    """The running broker, and its users."""

    def __init__(self, broker: JavaBroker, certificates: Certificates) -> None:
        self.certificates = certificates
        self.bootstrap_servers = broker.bootstrap_servers  # the super user's
        self.secured_servers = broker.secured_servers
        self._admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})

    def add_users(self, users: Iterable[str]) -> None:
        for user in users:
            self.certificates.make(user, user)
            credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
            asked = UserScramCredentialUpsertion(user, credential, password_of(user).encode())
            self._admin.alter_user_scram_credentials([asked])[user].result(30)

    def client(self, way: str, user: str) -> dict[str, str]:
        """The user's kafka.client."""
        trusts = {"ssl.ca.location": str(self.certificates.folder / "authority.pem")}
        if way == "SCRAM":
            login = {"sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": user, "sasl.password": password_of(user)}
            return {"security.protocol": "SASL_SSL", **login, **trusts}
        own = {"ssl.certificate.location": f"{user}.pem", "ssl.key.location": f"{user}.key"}
        files = {name: str(self.certificates.folder / file) for name, file in own.items()}
        return {"security.protocol": "SSL", **files, **trusts}

    def grant(self, user: str, rights: Collection[Right], pattern: ResourcePatternType = _LITERAL) -> None:
        """Returns when the broker goes by it. With PREFIXED a right is on all names that begin with its own."""
        if rights:
            for done in self._admin.create_acls([_binding(user, right, pattern) for right in rights]).values():
                done.result(30)
            self._wait_for([_filter(user, right, pattern) for right in rights], there=True)

    def withdraw(self, user: str, rights: Collection[Right]) -> None:
        """Returns when the broker goes by it."""
        filters = [_filter(user, right, _LITERAL) for right in rights]
        for done in self._admin.delete_acls(filters).values():
            done.result(30)
        self._wait_for(filters, there=False)

    @contextmanager
    def without(self, user: str, rights: Collection[Right]) -> Iterator[None]:
        """The user lacks them within."""
        self.withdraw(user, rights)
        yield
        self.grant(user, rights)

    def _wait_for(self, filters: Iterable[AclBindingFilter], *, there: bool) -> None:
        deadline = time.monotonic() + _APPLIED_SECONDS
        for wanted in filters:
            while bool(self._admin.describe_acls(wanted).result(30)) != there:
                assert time.monotonic() < deadline, f"{wanted}: the broker does not go by it"
                time.sleep(0.02)


@contextmanager
def secured_kafka(folder: Path, users: Collection[str]) -> Iterator[SecuredKafka]:
    """Always on this machine's Java. Raises WayError where there is none."""
    certificates = Certificates(folder)
    certificates.make("broker", "broker", address="127.0.0.1")
    secured = Secured({"SCRAM": "SASL_SSL", "MTLS": "SSL"}, _settings(certificates))
    data_dir = folder / "broker"
    data_dir.mkdir()
    broker = JavaBroker(data_dir, find_jars(CACHE, print), find_java(), free_port, {}, secured)
    try:
        kafka = SecuredKafka(broker, certificates)
        kafka.add_users(users)
        yield kafka
    finally:
        broker.stop()


def password_of(user: str) -> str:
    return f"correct-horse-{user}"


def _settings(certificates: Certificates) -> Mapping[str, str]:
    def line(file: str) -> str:
        return certificates.text(file).replace("\n", "\\n")

    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.mtls.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/,DEFAULT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": line("broker.key"),
        "ssl.keystore.certificate.chain": line("broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": line("authority.pem"),
    }


def _binding(user: str, right: Right, pattern: ResourcePatternType) -> AclBinding:
    kind, operation = _KINDS[right.kind], _OPERATIONS[right.operation]
    return AclBinding(kind, right.name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def _filter(user: str, right: Right, pattern: ResourcePatternType) -> AclBindingFilter:
    kind, operation = _KINDS[right.kind], _OPERATIONS[right.operation]
    return AclBindingFilter(kind, right.name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
