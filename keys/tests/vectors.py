"""Prints tests/it/vectors.rs: keys and signatures made by `openssl` and Python's `cryptography`, independently of this crate.

    python3 keys/tests/vectors.py > keys/tests/it/vectors.rs && cargo fmt -p lastmile-keys

Every run generates new keys, which are used only in these tests.
"""

import hashlib
import subprocess

from cryptography.hazmat.primitives import hashes, serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

MESSAGE = b"lastmile"
SPKI = (ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)
PKCS8 = (ser.Encoding.PEM, ser.PrivateFormat.PKCS8)


def openssl(*args, stdin=b""):
    return subprocess.run(["openssl", *args], input=stdin, check=True, capture_output=True).stdout


def const(name, doc, value):
    text = value.hex() if isinstance(value, bytes) else value
    comment = f"/// {doc}\n" if doc else ""
    print(f"{comment}pub(crate) const {name}: &str = {rust(text)};\n")


def rust(text):
    return '"' + text.replace("\n", "\\n\\\n") + '"'


# --- Ed25519, with just enough arithmetic for hostile signatures ------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    return ((x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P)


def mul(n, a):
    result = (0, 1)
    while n:
        if n & 1:
            result = add(result, a)
        a, n = add(a, a), n >> 1
    return result


def root(y, sign):
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * pow(2, (P - 1) // 4, P) % P
    return None if v * x * x % P != u else (x if x & 1 == sign else P - x)


def pack(a):
    return (a[1] | (a[0] & 1) << 255).to_bytes(32, "little")


BASE = (root(4 * pow(5, -1, P) % P, 0), 4 * pow(5, -1, P) % P)


def torsion():
    """A point of order 8."""
    y = 2
    while True:
        x = root(y, 0)
        if x is not None:
            t = mul(L, (x, y))
            if mul(4, t) != (0, 1):
                return t
        y += 1


def ed25519_vectors():
    key = ed25519.Ed25519PrivateKey.generate()
    seed = key.private_bytes(ser.Encoding.Raw, ser.PrivateFormat.Raw, ser.NoEncryption())
    public = key.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)
    good = key.sign(MESSAGE)
    const("ED25519", "An ed25519 key, in hexadecimal.", public)
    const("ED25519_PEM", None, key.public_key().public_bytes(*SPKI).decode())
    const("ED25519_SIGNATURE", None, good)
    s = int.from_bytes(good[32:], "little")
    const("ED25519_LARGE_S", "`ED25519_SIGNATURE` with S + L instead of S, where L is the order of the group.", good[:32] + (s + L).to_bytes(32, "little"))

    scalar = bytearray(hashlib.sha512(seed).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    a = int.from_bytes(scalar, "little")

    def challenge(r, public):
        return int.from_bytes(hashlib.sha512(r + public + MESSAGE).digest(), "little") % L

    r = pack((0, 1))
    const("ED25519_SMALL_R", "A signature with R of order 1 and a matching S, so the verification equation of RFC 8032 holds.",
          r + (challenge(r, public) * a % L).to_bytes(32, "little"))
    t = torsion()
    r = pack(add(mul(12345, BASE), t))
    const("ED25519_MIXED_R", "A signature with R of mixed order: the verification equation holds only after multiplication by 8.",
          r + ((12345 + challenge(r, public) * a) % L).to_bytes(32, "little"))
    mixed = pack(add(mul(a, BASE), t))
    const("ED25519_MIXED", "An ed25519 key whose point has mixed order.", mixed)
    nonce = 1
    while challenge(r := pack(mul(nonce, BASE)), mixed) % 8 == 0:
        nonce += 1
    const("ED25519_MIXED_SIGNATURE", "A signature under the key of mixed order: the verification equation holds only after multiplication by 8.",
          r + ((nonce + challenge(r, mixed) * a) % L).to_bytes(32, "little"))
    points = {pack(mul(i, t)) for i in range(8)}
    for y, sign in [(0, 1), (1, 1), (P - 1, 1), (P, 0), (P, 1), (P + 1, 0), (P + 1, 1)]:
        points.add((y | sign << 255).to_bytes(32, "little"))
    print("/// Every encoding of every point whose order divides 8.")
    print(f"pub(crate) const ED25519_SMALL_ORDER: [&str; {len(points)}] = [")
    print("".join(f'    "{point.hex()}",\n' for point in sorted(points)) + "];\n")
    y = 2
    while root(y, 0) is None or mul(8, (root(y, 0), y)) == (0, 1):
        y += 1
    assert y < 19
    const("ED25519_NON_CANONICAL", "A point of large order, encoded with y + p instead of y.", (y + P).to_bytes(32, "little"))
    const("ED25519_CANONICAL", "The point of `ED25519_NON_CANONICAL` in its canonical encoding.", y.to_bytes(32, "little"))


# --- ECDSA -----------------------------------------------------------------------------------------------

def ecdsa_vectors(name, curve, digest, order):
    key = ec.generate_private_key(curve)
    public = key.public_key()
    const(name, f"An ecdsa key on {curve.name}.", public.public_bytes(*SPKI).decode())
    const(f"{name}_POINT", None,
          public.public_bytes(ser.Encoding.X962, ser.PublicFormat.UncompressedPoint))
    const(f"{name}_COMPRESSED", None,
          public.public_bytes(ser.Encoding.X962, ser.PublicFormat.CompressedPoint))
    pem = public.public_bytes(*SPKI)
    const(f"{name}_COMPRESSED_PEM", f"`{name}` with a compressed point, as openssl writes it.",
          openssl("ec", "-pubin", "-pubout", "-conv_form", "compressed", stdin=pem).decode())
    const(f"{name}_EXPLICIT_PEM", f"`{name}` with the parameters of the curve instead of the name of the curve.",
          openssl("ec", "-pubin", "-pubout", "-param_enc", "explicit", stdin=pem).decode())
    r, s = utils.decode_dss_signature(key.sign(MESSAGE, ec.ECDSA(digest)))
    low, high = sorted((s, order - s))
    const(f"{name}_SIGNATURE", f"A signature by the key `{name}`, with the lower value of s.", utils.encode_dss_signature(r, low))
    const(f"{name}_HIGH_S", f"`{name}_SIGNATURE` with the higher value of s.", utils.encode_dss_signature(r, high))
    other = hashes.SHA384() if isinstance(digest, hashes.SHA256) else hashes.SHA256()
    const(f"{name}_OTHER_HASH", f"A signature by the key `{name}` over the {other.name} digest of the message.", key.sign(MESSAGE, ec.ECDSA(other)))
    size = (curve.key_size + 7) // 8
    const(f"{name}_P1363", f"`{name}_SIGNATURE` as the concatenation of r and s.", r.to_bytes(size, "big") + low.to_bytes(size, "big"))


# --- RSA -------------------------------------------------------------------------------------------------

def pss(digest, salt, mgf=None):
    return padding.PSS(padding.MGF1(mgf or digest), salt)


def rsa_vectors():
    key = rsa.generate_private_key(65537, 2048)
    n = key.public_key().public_numbers().n
    const("RSA", "An rsa key of 2048 bits.", key.public_key().public_bytes(*SPKI).decode())
    const("RSA_PKCS1", None,
          key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.PKCS1).decode())
    sha = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}
    for salt in (0, 20, 32, 256 - 32 - 2):
        const(f"PSS_SHA256_SALT_{salt}", None,
              key.sign(MESSAGE, pss(sha[256], salt), sha[256]))
    for bits in (384, 512):
        const(f"PSS_SHA{bits}", f"An RSASSA-PSS signature by the key `RSA` with SHA-{bits} and a salt as long as the hash.",
              key.sign(MESSAGE, pss(sha[bits], bits // 8), sha[bits]))
    const("PSS_MGF1_SHA1", "An RSASSA-PSS signature by the key `RSA` with SHA-256, but with SHA-1 for MGF1.",
          key.sign(MESSAGE, pss(sha[256], 32, hashes.SHA1()), sha[256]))
    for bits in (256, 512):
        const(f"PKCS1V15_SHA{bits}", None,
              key.sign(MESSAGE, padding.PKCS1v15(), sha[bits]))
    while True:
        value = int.from_bytes(key.sign(MESSAGE, pss(sha[256], 32), sha[256]), "big") + n
        if value < 2**2048:
            break
    const("PSS_PLUS_MODULUS", "The sum of a valid RSASSA-PSS signature by the key `RSA` and the modulus of the key, as numbers.", value.to_bytes(256, "big"))
    for bits in (2049, 4096):
        key = rsa.generate_private_key(65537, bits)
        const(f"RSA_{bits}", None, key.public_key().public_bytes(*SPKI).decode())
        const(f"RSA_{bits}_PSS", f"An RSASSA-PSS signature by the key `RSA_{bits}` with SHA-256 and a salt of 32 bytes.",
              key.sign(MESSAGE, pss(sha[256], 32), sha[256]))
        const(f"RSA_{bits}_PKCS1V15", None,
              key.sign(MESSAGE, padding.PKCS1v15(), sha[256]))
    key = openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048")
    const("RSA_PSS_OID", "An rsa key with the algorithm id-RSASSA-PSS.", openssl("pkey", "-pubout", stdin=key).decode())
    const("CERTIFICATE", "A certificate of a key on P-256.", openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
        "-days", "1", "-keyout", "/dev/null").decode())


# --- Private keys ----------------------------------------------------------------------------------------

def private_vectors():
    phrase = ser.BestAvailableEncryption(b"correct horse")
    keys = {
        "ED25519": ed25519.Ed25519PrivateKey.generate(),
        "P256": ec.generate_private_key(ec.SECP256R1()),
        "P384": ec.generate_private_key(ec.SECP384R1()),
    }
    titles = {
        "ED25519": "An ed25519 private key",
        "P256": "An ecdsa private key on P-256",
        "P384": "An ecdsa private key on P-384",
    }
    for name, key in keys.items():
        const(f"PRIVATE_{name}", f"{titles[name]} in unencrypted PKCS#8, written by `cryptography`.", key.private_bytes(*PKCS8, ser.NoEncryption()).decode())
        const(f"PRIVATE_{name}_ENCRYPTED", f"`PRIVATE_{name}` encrypted with the pass-phrase `correct horse`, by PBKDF2 and AES-256-CBC.",
              key.private_bytes(*PKCS8, phrase).decode())
        const(f"PRIVATE_{name}_PUBLIC", None, key.public_key().public_bytes(*SPKI).decode())
    const("PRIVATE_RSA", None, rsa.generate_private_key(65537, 2048).private_bytes(*PKCS8, ser.NoEncryption()).decode())
    const("PRIVATE_SEC1", "A private key in the format that openssl wrote before PKCS#8.", keys["P256"].private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption()).decode())
    k1 = ec.generate_private_key(ec.SECP256K1())
    const("PRIVATE_SECP256K1", "A private key on an unsupported curve.", k1.private_bytes(*PKCS8, ser.NoEncryption()).decode())
    const("SECP256K1", "The public key of `PRIVATE_SECP256K1`.", k1.public_key().public_bytes(*SPKI).decode())
    plain = keys["ED25519"].private_bytes(*PKCS8, ser.NoEncryption())
    for name, how in {
        "SCRYPT": ["-scrypt"],
        "FEW_ROUNDS": ["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512", "-iter", "1"],
        "HMAC_SHA1": ["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"],
        "TRIPLE_DES": ["-v2", "des3"],
        "PBES1": ["-v1", "PBE-SHA1-3DES"],
    }.items():
        const(f"PRIVATE_{name}", f"The key of `PRIVATE_ED25519`, encrypted with `openssl pkcs8 -topk8 {' '.join(how)}`.", openssl(
            "pkcs8", "-topk8", *how, "-passout", "pass:correct horse", stdin=plain).decode())


print("//! Keys made by other programs, and signatures over [`MESSAGE`]. Generated by `tests/vectors.py`.\n")
print('#![cfg_attr(not(feature = "sign"), expect(dead_code, reason = "some constants are only for tests of private keys"))]\n')
print('/// The signed message.\npub(crate) const MESSAGE: &[u8] = b"lastmile";\n')
ed25519_vectors()
ecdsa_vectors("P256", ec.SECP256R1(), hashes.SHA256(),
              0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551)
ecdsa_vectors("P384", ec.SECP384R1(), hashes.SHA384(),
              0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973)
rsa_vectors()
private_vectors()
