//! One order: account, proof that each host is this gateway's, certificate.

use std::fs;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, ExternalAccountKey,
    Identifier, KeyAuthorization, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use madang_calls::Trust;
use madang_gateway::{Certificate, Proof, Proving, Tls};
use madang_model::{Acme, Challenge, ExternalAccount};
use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::{
    http::Http,
    kept::{self, Folder},
    pause::{Failure, Kind},
};
use crate::{node::with_causes, secrets::Secrets, tls::CertificateError};

/// As authorities give keys out: some end them with `=`, as the standard does not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What an authority says of an account that it does not know (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// What an authority says that knows no strangers (RFC 8555, section 6.7).
const EXTERNAL_ACCOUNT_REQUIRED: &str = "urn:ietf:params:acme:error:externalAccountRequired";

/// What an authority says that does not take an order for the successor of that certificate (RFC 9773, section 5, and RFC
/// 8555, section 6.7): somebody was faster, or it knows it as another account's, or not at all.
const NO_SUCCESSOR: [&str; 3] = [
    "urn:ietf:params:acme:error:alreadyReplaced",
    "urn:ietf:params:acme:error:malformed",
    "urn:ietf:params:acme:error:unauthorized",
];

/// What is asked for, and with what.
pub(super) struct Wanted<'a> {
    pub(super) acme: &'a Acme,
    pub(super) folder: &'a Folder,
    pub(super) tls: &'a Tls,
    pub(super) secrets: &'a Secrets,
    pub(super) patience: RetryPolicy,
    /// Which certificate the next one takes the place of.
    pub(super) replaces: Option<&'a CertificateIdentifier<'static>>,
}

/// Has a certificate, and keeps it.
pub(super) async fn order(wanted: &Wanted<'_>, now: u64) -> Result<(), Failure> {
    let Wanted { acme, folder, .. } = wanted;
    let http = Http::new(trust(acme)?);
    let ordered = certificate(wanted, &http).await;
    let (key, chain) = ordered.map_err(|error| {
        if error.says(NO_ACCOUNT) {
            // Another is made for the next order.
            folder.forget_account();
        }
        error.into_failure(&http)
    })?;
    check(acme, &key, &chain, now)?;
    folder.keep_certificate(&key, &chain).map_err(own)
}

/// Why an order did not come to its end.
enum Trouble {
    Acme(Error),
    /// The authority has not seen that the hosts are this gateway's.
    NotSeen(String),
    Own(Failure),
}

async fn certificate(wanted: &Wanted<'_>, http: &Http) -> Result<(String, String), Trouble> {
    let Wanted { acme, tls, patience, .. } = wanted;
    let account = account(wanted, http).await?;
    let mut order = begin(wanted, &account).await?;
    // Shown until the authority has looked, however this ends.
    let _proving = prove(acme, &mut order, tls).await?;
    match order.poll_ready(patience).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) | Err(Error::Api(_)) => return Err(Trouble::NotSeen(refusals(&mut order).await)),
        Err(error) => return Err(error.into()),
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(patience).await?;
    Ok((key, chain))
}

/// An order that takes the place of the certificate in force, which authorities count less; or else of none.
async fn begin(wanted: &Wanted<'_>, account: &Account) -> Result<Order, Error> {
    let hosts: Vec<_> = wanted.acme.domains.iter().cloned().map(Identifier::Dns).collect();
    if let Some(replaces) = wanted.replaces {
        let order = account.new_order(&NewOrder::new(&hosts).replaces(replaces.clone())).await;
        match order {
            // The authority speaks of no certificates, or answers something else than what was asked.
            Err(Error::Unsupported(_) | Error::Other(_)) => {}
            Err(Error::Api(problem)) if NO_SUCCESSOR.iter().any(|kind| is(&problem, kind)) => {}
            ordered => return ordered,
        }
    }
    account.new_order(&NewOrder::new(&hosts)).await
}

fn is(problem: &Problem, kind: &str) -> bool {
    problem.r#type.as_deref() == Some(kind)
}

/// The account that is kept, or a new one.
async fn account(wanted: &Wanted<'_>, http: &Http) -> Result<Account, Trouble> {
    let Wanted { acme, folder, .. } = wanted;
    let contact = acme.contact.as_ref().map(|address| format!("mailto:{address}"));
    let contacts: Vec<&str> = contact.as_deref().into_iter().collect();
    let builder = Account::builder_with_http(Box::new(http.clone()));
    let kept = folder.account().map_err(own)?;
    match kept.filter(|kept| kept.is_bound_as_in(acme)) {
        Some(kept) if kept.contact == acme.contact => Ok(builder.from_credentials(kept.credentials).await?),
        Some(kept) => {
            // Its credentials are read twice, because whoever has an account cannot give them back.
            let again = folder.account().map_err(own)?;
            let account = builder.from_credentials(kept.credentials).await?;
            account.update_contacts(&contacts).await?;
            if let Some(again) = again {
                let told = kept::Account { contact: acme.contact.clone(), ..again };
                folder.keep_account(&told).map_err(own)?;
            }
            Ok(account)
        }
        None => {
            let new =
                NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
            let binding = binding(wanted).await?;
            let directory = acme.directory.to_string();
            let (account, credentials) = builder.create(&new, directory, binding.as_ref()).await?;
            let external = acme.external_account.as_ref().map(|account| account.id.clone());
            let made = kept::Account { contact: acme.contact.clone(), external, credentials };
            folder.keep_account(&made).map_err(own)?;
            Ok(account)
        }
    }
}

/// What shows to whom a new account belongs, if the authority is to know.
async fn binding(wanted: &Wanted<'_>) -> Result<Option<ExternalAccountKey>, Failure> {
    let Some(ExternalAccount { id, key }) = wanted.acme.external_account.clone() else { return Ok(None) };
    let (secrets, name) = (wanted.secrets.clone(), key.clone());
    let told = tokio::task::spawn_blocking(move || secrets.reveal(&name)).await;
    let told = told.map_err(|panic| own_words(panic.to_string()))?;
    let told = told.map_err(|error| own_words(with_causes(&error)))?;
    let decoded = BASE64.decode(told.trim()).map_err(|error| {
        own_words(format!(
            "the secret \"{key}\" is no key of an account elsewhere: {error}; the authority gives it out in base64url"
        ))
    })?;
    Ok(Some(ExternalAccountKey::new(id, &decoded)))
}

/// Shows what proves each host, and tells the authority to look.
async fn prove(acme: &Acme, order: &mut Order, tls: &Tls) -> Result<Vec<Proving>, Trouble> {
    let (kind, name) = match acme.challenge {
        Challenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, acme.challenge.as_str()),
        Challenge::Http01 => (ChallengeType::Http01, acme.challenge.as_str()),
    };
    let mut proving = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let host = authorization.identifier().to_string();
        match authorization.status {
            AuthorizationStatus::Pending => {}
            // It has looked not long ago.
            AuthorizationStatus::Valid => continue,
            other => return Err(Trouble::NotSeen(format!("{host}: the authorization is {other:?}"))),
        }
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(Trouble::NotSeen(format!("{host}: the authority does not offer {name}")));
        };
        let proof = proof(acme.challenge, host, challenge.token.clone(), &challenge.key_authorization())?;
        let shown = tls.prove(vec![proof]).map_err(|error| Trouble::Own(broken(&error)))?;
        proving.push(shown);
        challenge.set_ready().await?;
    }
    Ok(proving)
}

fn proof(
    challenge: Challenge,
    host: String,
    token: String,
    authorization: &KeyAuthorization,
) -> Result<Proof, Trouble> {
    if challenge == Challenge::Http01 {
        return Ok(Proof::InPlain { token, answer: authorization.as_str().to_owned() });
    }
    let made = || {
        let mut params = CertificateParams::new([host.clone()])?;
        params.custom_extensions =
            vec![CustomExtension::new_acme_identifier(authorization.digest().as_ref())];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?.der().to_vec(), key.serialize_der()))
    };
    let (certificate, key) = made().map_err(|error: rcgen::Error| Trouble::Own(broken(&error)))?;
    Ok(Proof::OverTls { host, certificate, key })
}

/// What the authority has not seen, host by host.
async fn refusals(order: &mut Order) -> String {
    let mut all = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        if authorization.refresh().await.is_err() {
            continue;
        }
        let host = authorization.identifier().to_string();
        let problems = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        all.extend(problems.map(|problem| match (&problem.detail, &problem.r#type) {
            (Some(detail), _) => format!("{host}: {detail}"),
            (None, kind) => format!("{host}: {}", kind.as_deref().unwrap_or("it does not say why")),
        }));
    }
    if all.is_empty() { "it does not say why".to_owned() } else { all.join("; ") }
}

/// Nothing is kept that could not be shown: what an authority signs is not believed to be what was asked for.
fn check(acme: &Acme, key: &str, chain: &str, now: u64) -> Result<(), Failure> {
    let refused = |why: String| Failure { why, kind: Kind::Refused, retry_after: None };
    let certificate = Certificate::read(chain.as_bytes(), key.as_bytes())
        .map_err(|error| refused(format!("what {} has signed cannot be used: {error}", acme.directory)))?;
    if let Some(missing) = acme.domains.iter().find(|domain| !certificate.names().contains(domain)) {
        return Err(refused(format!("what {} has signed is not for {missing}", acme.directory)));
    }
    if certificate.ends() <= now {
        return Err(refused(format!("what {} has signed has ended already", acme.directory)));
    }
    Ok(())
}

pub(super) fn trust(acme: &Acme) -> Result<Option<Trust>, Failure> {
    let Some(path) = &acme.ca else { return Ok(None) };
    let unusable = |why: String| own_words(format!("the `ca` of the authority, {}: {why}", path.display()));
    let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    Trust::only(&pem).map(Some).map_err(|error| unusable(with_causes(&error)))
}

fn own(error: CertificateError) -> Failure {
    own_words(with_causes(&error))
}

fn broken(error: &dyn std::error::Error) -> Failure {
    own_words(format!("a proof cannot be made: {}", with_causes(error)))
}

/// What fails here costs the authority nothing.
fn own_words(why: String) -> Failure {
    Failure { why, kind: Kind::Unreached, retry_after: None }
}

// === impl Trouble ===

impl Trouble {
    fn says(&self, kind: &str) -> bool {
        matches!(self, Self::Acme(Error::Api(problem)) if is(problem, kind))
    }

    fn into_failure(self, http: &Http) -> Failure {
        let refused = http.refused();
        match self {
            Self::Own(failure) => failure,
            Self::NotSeen(why) => Failure {
                why: format!("the authority could not see whose the hosts are: {why}"),
                kind: Kind::Refused,
                retry_after: None,
            },
            Self::Acme(Error::Api(problem)) => Failure {
                why: match is(&problem, EXTERNAL_ACCOUNT_REQUIRED) {
                    true => format!(
                        "the authority says: {problem}; give it what it knows you by, `external_account` in [gateway.tls.acme]"
                    ),
                    false => format!("the authority says: {problem}"),
                },
                kind: if refused.failed { Kind::Unreached } else { Kind::Refused },
                retry_after: refused.retry_after,
            },
            // It has begun, and counts there.
            Self::Acme(error @ Error::Timeout(_)) => {
                Failure { why: error.to_string(), kind: Kind::Refused, retry_after: None }
            }
            Self::Acme(error) => Failure {
                why: format!("the authority was not reached: {error}"),
                kind: Kind::Unreached,
                retry_after: refused.retry_after,
            },
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Acme(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Own(failure)
    }
}
