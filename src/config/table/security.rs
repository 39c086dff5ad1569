//! Flags of TLS, of HTTP access and of authentication.

use super::{Flag, Kind, absent, inert, served};

const NO_TLS: &str = "read only with certificates, which are refused";

pub const SECURITY: &[Flag] = &[
    absent("cert-file", Kind::Text(""), "Certificate file for clients."),
    absent("key-file", Kind::Text(""), "Key file for clients."),
    absent(
        "client-cert-auth",
        Kind::Bool(false),
        "Whether clients must show a verified certificate.",
    ),
    absent("client-cert-file", Kind::Text(""), "Certificate file shown as a client."),
    absent("client-key-file", Kind::Text(""), "Key file used as a client."),
    absent("client-crl-file", Kind::Text(""), "Revocation list for client certificates."),
    absent("client-cert-allowed-hostname", Kind::List, "Names allowed in client certificates."),
    absent("trusted-ca-file", Kind::Text(""), "CA file for client certificates."),
    absent("auto-tls", Kind::Bool(false), "Whether clients get a self-signed certificate."),
    absent("peer-cert-file", Kind::Text(""), "Certificate file for peers."),
    absent("peer-key-file", Kind::Text(""), "Key file for peers."),
    absent(
        "peer-client-cert-auth",
        Kind::Bool(false),
        "Whether peers must show a verified certificate.",
    ),
    absent("peer-client-cert-file", Kind::Text(""), "Certificate file shown to peers."),
    absent("peer-client-key-file", Kind::Text(""), "Key file used towards peers."),
    absent("peer-trusted-ca-file", Kind::Text(""), "CA file for peer certificates."),
    absent("peer-cert-allowed-cn", Kind::List, "Common names allowed to peers."),
    absent("peer-cert-allowed-hostname", Kind::List, "Names allowed in peer certificates."),
    absent("peer-auto-tls", Kind::Bool(false), "Whether peers get a self-signed certificate."),
    inert(
        "self-signed-cert-validity",
        Kind::Uint(1),
        NO_TLS,
        "Years that a self-signed certificate lasts.",
    ),
    absent("peer-crl-file", Kind::Text(""), "Revocation list for peer certificates."),
    absent(
        "peer-skip-client-san-verification",
        Kind::Bool(false),
        "Whether a peer's address goes unchecked against its certificate.",
    ),
    inert("cipher-suites", Kind::List, NO_TLS, "Cipher suites of TLS 1.2."),
    served("cors", Kind::Origins, "Origins that browsers may call from (* for any)."),
    served(
        "host-whitelist",
        Kind::Set("*"),
        "Values of the Host header that are answered in the clear (* for any).",
    ),
    inert("tls-min-version", Kind::Text("TLS1.2"), NO_TLS, "Oldest TLS: TLS1.2 or TLS1.3."),
    inert("tls-max-version", Kind::Text(""), NO_TLS, "Newest TLS: TLS1.2 or TLS1.3."),
];

pub const AUTH: &[Flag] = &[
    absent("auth-token", Kind::Text("simple"), "The kind of token: simple, or jwt and options."),
    absent("bcrypt-cost", Kind::Uint(10), "Cost of hashing a password, 4 to 31."),
    absent("auth-token-ttl", Kind::Uint(300), "Seconds that a token lasts."),
];
