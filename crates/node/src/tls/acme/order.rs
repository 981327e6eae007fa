//! One order: account, proof that each host is this gateway's, certificate.

use std::fs;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, KeyAuthorization, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use madang_calls::Trust;
use madang_gateway::{Certificate, Proof, Proving, Tls};
use madang_model::{Acme, Challenge};
use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::{
    http::Http,
    kept::{self, Folder},
    pause::{Failure, Kind},
};
use crate::{node::with_causes, tls::CertificateError};

/// What an authority says of an account that it does not know (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Has a certificate, and keeps it.
pub(super) async fn order(
    acme: &Acme,
    folder: &Folder,
    tls: &Tls,
    patience: RetryPolicy,
    now: u64,
) -> Result<(), Failure> {
    let http = Http::new(trust(acme)?);
    let ordered = certificate(acme, folder, tls, &http, patience).await;
    let (key, chain) = ordered.map_err(|error| {
        if matches!(&error, Trouble::Acme(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT)) {
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

async fn certificate(
    acme: &Acme,
    folder: &Folder,
    tls: &Tls,
    http: &Http,
    patience: RetryPolicy,
) -> Result<(String, String), Trouble> {
    let account = account(acme, folder, http).await?;
    let hosts: Vec<_> = acme.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&hosts)).await?;
    // Shown until the authority has looked, however this ends.
    let _proving = prove(acme, &mut order, tls).await?;
    match order.poll_ready(&patience).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) | Err(Error::Api(_)) => return Err(Trouble::NotSeen(refusals(&mut order).await)),
        Err(error) => return Err(error.into()),
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&patience).await?;
    Ok((key, chain))
}

/// The account that is kept, or a new one.
async fn account(acme: &Acme, folder: &Folder, http: &Http) -> Result<Account, Trouble> {
    let contact = acme.contact.as_ref().map(|address| format!("mailto:{address}"));
    let contacts: Vec<&str> = contact.as_deref().into_iter().collect();
    let builder = Account::builder_with_http(Box::new(http.clone()));
    match folder.account().map_err(own)? {
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
            let (account, credentials) = builder.create(&new, acme.directory.to_string(), None).await?;
            let made = kept::Account { contact: acme.contact.clone(), credentials };
            folder.keep_account(&made).map_err(own)?;
            Ok(account)
        }
    }
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

fn trust(acme: &Acme) -> Result<Option<Trust>, Failure> {
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
                why: format!("the authority says: {problem}"),
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
