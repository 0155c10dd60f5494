//! Certificates: the authority's own, and those that it signs.
//!
//! In:  `now`, names, PEM that this module wrote.
//! Out: keys and certificates in memory, PEM.
//!
//! Holds always: an authority's subject follows from its key, so that two never share one.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use time::{Duration, OffsetDateTime};

/// How long an authority is valid.
const VALID: Duration = Duration::days(3650);
/// It is replaced when less than this is left.
const SPARE: Duration = Duration::days(400);
/// How long a certificate that it signed is valid; more than this and some clients refuse it.
const ISSUED_VALID: Duration = Duration::days(397);
const _: () = assert!(
    ISSUED_VALID.whole_days() < SPARE.whole_days(),
    "what an authority signs ends before it does"
);
/// Certificates begin in the past, for clocks that are behind.
const BACKDATED: Duration = Duration::days(1);

/// Stands before the authority's end in its file, in seconds since 1970. PEM takes text around
/// what it encloses (RFC 7468, section 2); this spares the program a parser of certificates.
const VALID_UNTIL: &str = "Valid until: ";

/// A key that signs, and its certificate.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    key_der: Vec<u8>,
    valid_until: OffsetDateTime,
}

impl Authority {
    pub(super) fn create(now: OffsetDateTime) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // In whole seconds, as certificates have it.
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let valid_until = now + VALID;
        let mut params = params_of(&key);
        params.not_before = now - BACKDATED;
        params.not_after = valid_until;
        let certificate = params.self_signed(&key)?.der().clone();
        let key_der = key.serialize_der();
        Ok(Self { issuer: Issuer::new(params, key), certificate, key_der, valid_until })
    }

    /// Reads what [`Self::to_pem`] wrote, or says what is wrong with it.
    pub(super) fn from_pem(text: &str) -> Result<Self, String> {
        let seconds = text
            .lines()
            .find_map(|line| line.strip_prefix(VALID_UNTIL)?.parse().ok())
            .ok_or("it does not say until when it is valid")?;
        let valid_until = OffsetDateTime::from_unix_timestamp(seconds)
            .map_err(|_| "it is valid until a time that there is not")?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|err| format!("no certificate in it: {err}"))?;
        let key_der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|err| format!("no key in it: {err}"))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key_der, &PKCS_ECDSA_P256_SHA256)
            .map_err(|err| format!("its key cannot be used: {err}"))?;
        let key_der = key_der.secret_pkcs8_der().to_vec();
        Ok(Self { issuer: Issuer::new(params_of(&key), key), certificate, key_der, valid_until })
    }

    pub(super) fn to_pem(&self) -> String {
        format!(
            "A Tidegate gateway made this authority for development. Keep its key to yourself.\n\
             {VALID_UNTIL}{}\n{}{}",
            self.valid_until.unix_timestamp(),
            certificate_pem(&self.certificate),
            pem("PRIVATE KEY", &self.key_der),
        )
    }

    /// Whether it is valid for long enough still.
    pub(super) fn is_fresh(&self, now: OffsetDateTime) -> bool {
        self.valid_until - now > SPARE
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs a certificate for `names` with a key of its own; the chain has the leaf only, for
    /// whoever trusts it has the authority's.
    pub(super) fn issue(
        &self,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names)?;
        params.not_before = now - BACKDATED;
        params.not_after = now + ISSUED_VALID;
        params.distinguished_name = common_name("Tidegate development gateway".to_owned());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((vec![certificate.der().clone()], key))
    }
}

/// What an authority's certificate says, but for when it is valid.
fn params_of(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = params.key_identifier(key);
    let id: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = common_name(format!("Tidegate development authority {id}"));
    // It signs gateways' certificates, and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: String) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

pub(super) fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    pem("CERTIFICATE", certificate)
}

/// RFC 7468: base64 in lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    // 48 bytes are 64 characters.
    let lines: String = der.chunks(48).map(|line| STANDARD.encode(line) + "\n").collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}
