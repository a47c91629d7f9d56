"""Keys: made once, for their owner only; one's own by settings; every key that does not fit is one clear message."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509 import load_pem_x509_certificates

from calm.errors import ConfigError, ProvenanceError
from calm.safety import ProvenanceSettings, check_settings, detect, publish
from calm.safety import keys as keys_module
from calm.safety.certificates import make_chain
from calm.safety.keys import credentials, fingerprint, signing_key, trusted
from calm.safety.pem import private_bytes
from tests.safety.published import UNMARKED, clip, home_of, record


@pytest.fixture
def home(tmp_path: Path):
    with home_of(tmp_path / "home") as folder:
        yield folder


def write(path: Path, data: bytes | str, *, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)
    return path


def test_keys_are_made_at_first_use_for_their_owner_only_and_stay(home: Path) -> None:
    first = signing_key(UNMARKED).public_key()
    assert signing_key(UNMARKED).public_key() == first and credentials(UNMARKED) == credentials(UNMARKED)
    assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (home / "keys").iterdir()} == {0o600}
    assert [file.name for file in home.iterdir()] == ["keys"]


def test_the_chain_is_an_authority_and_one_signer_that_it_issued(home: Path) -> None:
    leaf, root = load_pem_x509_certificates(credentials(UNMARKED).certificates.encode())
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    key = serialization.load_pem_private_key(credentials(UNMARKED).key.encode(), password=None)
    assert leaf.public_key() == key.public_key() != root.public_key()


def _first_key(start, results) -> None:
    start.wait()
    results.put((fingerprint(signing_key(UNMARKED).public_key()), credentials(UNMARKED).certificates))


@pytest.mark.skipif(os.name != "posix", reason="processes are forked")
def test_processes_that_make_the_first_key_at_once_agree(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_first_key, args=(start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    seen = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(timeout=60)
    assert len(seen) == 1 and [process.exitcode for process in processes] == [0] * 4
    assert [file.name for file in home.iterdir()] == ["keys"]


def test_the_first_of_two_that_make_keys_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rival: list[str] = []

    def slow_chain():
        if not rival:
            rival.append("is making its keys")
            rival[0] = fingerprint(signing_key(UNMARKED).public_key())  # all of another process's first use
        return make_chain()

    monkeypatch.setattr(keys_module, "make_chain", slow_chain)
    assert fingerprint(signing_key(UNMARKED).public_key()) == rival[0]
    assert [file.name for file in home.iterdir()] == ["keys"]


def test_a_folder_that_cannot_be_written_says_what_to_set(tmp_path: Path) -> None:
    write(tmp_path / "file", b"")
    with home_of(tmp_path / "file" / "home"), pytest.raises(ProvenanceError, match=r"(?s)cannot be made.*AUDIOCALM_HOME"):
        signing_key(UNMARKED)


def test_ones_own_key_and_certificate_sign_by_settings(tmp_path: Path, home: Path) -> None:
    key, chain = Ed25519PrivateKey.generate(), make_chain()
    write(home / "company" / "signing.pem", private_bytes(key))
    write(home / "company" / "certificates.pem", chain.certificates)
    write(home / "company" / "key.pem", private_bytes(chain.key))
    names = {"signing_key": "signing.pem", "certificates": "certificates.pem", "certificate_key": "key.pem"}
    write(home / "provenance.yaml", "".join(f"{name}: company/{file}\n" for name, file in names.items()))
    settings = ProvenanceSettings.load(parts=("sidecar", "c2pa"))
    publish(tmp_path / "a.wav", clip(), provenance=record(), settings=settings)
    report = detect(tmp_path / "a.wav")
    assert report.state == "intact" and report.known and not (home / "keys").exists()
    signer = load_pem_x509_certificates(chain.certificates)[0].subject.rfc4514_string()
    assert fingerprint(key.public_key()) in report.findings[1].message
    assert report.findings[2].signer.split("'")[1] in signer


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("certificate_key: key.pem\n", "belong together"),
        ("parts: [c2pa]\n", "Unknown key 'parts'"),
        ("signing_kee: a.pem\n", "Did you mean 'signing_key'"),
        ("signing_key: 3\n", "'signing_key' is no text"),
        ("watermark: none\n", "a flag does that"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(home: Path, content: str, message: str) -> None:
    write(home / "provenance.yaml", content)
    with pytest.raises(ProvenanceError, match=message):
        ProvenanceSettings.load()


def test_settings_that_are_no_yaml_are_one_error(home: Path) -> None:
    write(home / "provenance.yaml", "a: [")
    with pytest.raises(ConfigError, match=r"provenance\.yaml"):
        ProvenanceSettings.load()


def test_a_private_key_that_everybody_may_read_is_refused(home: Path) -> None:
    signing_key(UNMARKED)
    (home / "keys" / "signing_key.pem").chmod(0o644)
    (home / "keys" / "certificate_key.pem").chmod(0o604)
    for use in (signing_key, credentials):
        with pytest.raises(ProvenanceError, match=r"(?s)Everybody may read.*chmod 600"):
            use(UNMARKED)


def other_keys() -> dict[str, bytes]:
    ed25519 = Ed25519PrivateKey.generate()
    return {
        "RSA": private_bytes(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        "passphrase": ed25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        "cannot be read": b"no key",
        "P-256": private_bytes(make_chain().key),
    }


@pytest.mark.parametrize(("kind", "message"), [("RSA", "RSA"), ("passphrase", "[Pp]ass"), ("cannot be read", "cannot be read"), ("P-256", "EllipticCurve|EC")])
def test_another_kind_of_key_is_refused(tmp_path: Path, kind: str, message: str) -> None:
    path = write(tmp_path / "key.pem", other_keys()[kind])
    with pytest.raises(ProvenanceError, match=rf"(?s){message}.*an Ed25519 private key.*openssl"):
        check_settings(ProvenanceSettings(parts=("sidecar",), signing_key=path))


def test_a_key_that_is_gone_says_what_can_be_done(home: Path) -> None:
    signing_key(UNMARKED)
    (home / "keys" / "certificates.pem").unlink()
    with pytest.raises(ProvenanceError, match=r"(?s)cannot be read \(No such file.*certificates\.pem.*new keys are made"):
        credentials(UNMARKED)


def test_a_private_key_among_the_certificates_never_reaches_a_file(tmp_path: Path) -> None:
    chain = make_chain()
    both = write(tmp_path / "both.pem", chain.certificates + private_bytes(chain.key))
    with pytest.raises(ProvenanceError, match="holds a private key as well"):
        credentials(ProvenanceSettings(certificates=both, certificate_key=both))


@pytest.mark.parametrize("fault", ["expired", "another key", "self-signed", "no certificate", "no key"])
def test_certificates_that_cannot_sign_are_one_error_and_no_file(tmp_path: Path, fault: str) -> None:
    chain = make_chain(now=datetime.now(UTC) - timedelta(days=365 * 30)) if fault == "expired" else make_chain()
    certificates, key = chain.certificates, private_bytes(chain.key)
    if fault == "another key":
        key = private_bytes(make_chain().key)
    if fault == "self-signed":
        certificates = certificates[certificates.rindex(b"-----BEGIN") :]
    if fault == "no certificate":
        certificates = b"nothing"
    if fault == "no key":
        key = b"nothing"
    settings = ProvenanceSettings(
        parts=("sidecar", "c2pa"),
        certificates=write(tmp_path / "certificates.pem", certificates),
        certificate_key=write(tmp_path / "key.pem", key),
    )
    with pytest.raises(ProvenanceError, match=r"(?s)manifest cannot be signed \(.*a chain of certificates"):
        publish(tmp_path / "out" / "a.wav", clip(), provenance=record(), settings=settings)
    assert not (tmp_path / "out").exists()


def test_only_keys_and_certificates_can_be_trusted(tmp_path: Path) -> None:
    with pytest.raises(ProvenanceError, match="neither a public key nor a certificate"):
        trusted(UNMARKED, [write(tmp_path / "a.pem", "hello")])
    with pytest.raises(ProvenanceError, match=r"cannot be read \(No such file"):
        trusted(UNMARKED, [tmp_path / "gone.pem"])
    broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    with pytest.raises(ProvenanceError, match="A public key cannot be read"):
        trusted(UNMARKED, [write(tmp_path / "b.pem", broken)])


def test_a_missing_library_says_how_to_get_it_or_go_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    with pytest.raises(ProvenanceError, match=r"(?s)pip install c2pa-python.*--provenance sidecar,watermark"):
        publish(tmp_path / "a.wav", clip(), provenance=record(), settings=UNMARKED)
    assert not list(tmp_path.iterdir())
    publish(tmp_path / "a.wav", clip(), provenance=record(), settings=ProvenanceSettings(parts=("sidecar",)))
    shutil.rmtree(tmp_path)
