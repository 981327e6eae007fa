//! What a process is told by its environment.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use http::Uri;
use madang_model::ServiceName;
use madang_wire::principal;

use crate::{StartError, principal::Principals, telemetry::Settings};

/// What a process is told by its environment (the contract with a service).
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// Where to listen; 0 for any free port.
    pub(crate) port: u16,
    /// The unit that the process belongs to.
    pub(crate) unit: Option<String>,
    /// The service API of the node that runs the process; absent if nobody does.
    pub(crate) service_api: Option<ServiceApi>,
    /// Without a node: where other services are.
    pub(crate) services: BTreeMap<ServiceName, SocketAddr>,
    /// Whom it believes to say for whom a request is made.
    pub(crate) principals: Arc<Principals>,
    /// What it is told of telemetry.
    pub(crate) telemetry: Settings,
    /// The databases' URLs by the service's variable prefix, and that of a single service under the empty one.
    databases: BTreeMap<String, String>,
}

/// The service API of the node that runs the process.
#[derive(Clone)]
pub(crate) struct ServiceApi {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Result<Self, StartError> {
        // A variable that is not UTF-8 is none of ours.
        Self::parse(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    fn parse(variables: impl Iterator<Item = (String, String)>) -> Result<Self, StartError> {
        let variables: BTreeMap<String, String> = variables.filter(|(_, value)| !value.is_empty()).collect();
        let get = |name: &str| variables.get(name).cloned();
        let bad = |name: &str, expected: &str| StartError::Variable {
            name: name.to_owned(),
            expected: expected.to_owned(),
        };
        let port = match get("PORT") {
            None => 0,
            Some(port) => port.parse().map_err(|_| bad("PORT", "a port from 0 to 65535"))?,
        };
        let service_api = match get("MADANG_URL") {
            None => None,
            Some(url) => Some(ServiceApi {
                address: address(&url).ok_or_else(|| bad("MADANG_URL", "http://127.0.0.1:PORT"))?,
                token: get("MADANG_TOKEN")
                    .ok_or_else(|| bad("MADANG_TOKEN", "the token of this instance"))?,
            }),
        };
        let principals = Principals::read(get(principal::KEYS).as_deref())
            .ok_or_else(|| bad(principal::KEYS, "a JSON Web Key Set"))?;
        let telemetry = Settings::read(&variables, service_api.is_some());
        Ok(Self {
            port,
            principals: Arc::new(principals),
            telemetry,
            unit: get("MADANG_UNIT"),
            service_api,
            services: services(&variables),
            databases: databases(&variables),
        })
    }

    /// The URL of a service's database: `ORDERS_DATABASE_URL`, or `DATABASE_URL` if it is the only one here.
    pub(crate) fn database_url(&self, service: &ServiceName, alone: bool) -> Option<&str> {
        let own = self.databases.get(&service.env_prefix());
        let plain = if alone { self.databases.get("") } else { None };
        own.or(plain).map(String::as_str)
    }

    /// Believes those who have the private halves of these keys.
    pub(crate) fn with_principals(mut self, principals: Principals) -> Self {
        self.principals = Arc::new(principals);
        self
    }

    /// Gives a service a database.
    pub(crate) fn with_database(mut self, service: &ServiceName, url: String) -> Self {
        self.databases.insert(service.env_prefix(), url);
        self
    }
}

fn databases(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut databases = BTreeMap::new();
    for (name, url) in variables {
        if let Some(prefix) = name.strip_suffix("DATABASE_URL")
            && (prefix.is_empty() || prefix.ends_with('_'))
        {
            databases.insert(prefix.trim_end_matches('_').to_owned(), url.clone());
        }
    }
    databases
}

/// `USERS_URL=http://127.0.0.1:3001` says where `users` is. Other variables end in `_URL` too; those that give no
/// address are not about services.
fn services(variables: &BTreeMap<String, String>) -> BTreeMap<ServiceName, SocketAddr> {
    let named = variables.iter().filter_map(|(name, url)| {
        let prefix = name.strip_suffix("_URL").filter(|prefix| *prefix != "MADANG")?;
        let service = prefix.to_ascii_lowercase().replace('_', "-").parse().ok()?;
        Some((service, address(url)?))
    });
    named.collect()
}

/// The socket address of a URL such as `http://127.0.0.1:3001`.
fn address(url: &str) -> Option<SocketAddr> {
    let uri: Uri = url.parse().ok()?;
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let authority = uri.authority()?;
    let port = authority.port_u16().unwrap_or(80);
    let host = if authority.host() == "localhost" { "127.0.0.1" } else { authority.host() };
    Some(SocketAddr::new(host.trim_matches(['[', ']']).parse().ok()?, port))
}

// The token is a secret.
impl std::fmt::Debug for ServiceApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceApi").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Environment, StartError> {
        Environment::parse(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn services_are_where_their_variables_say() {
        let environment = parse(&[
            ("USERS_URL", "http://127.0.0.1:3001"),
            ("GIFT_CARDS_URL", "http://localhost:3002/"),
            ("DATABASE_URL", "sqlite:a.db"),
            ("MAIL_URL", "https://mail.example"),
            ("MADANG_URL", "http://127.0.0.1:4000"),
            ("MADANG_TOKEN", "secret"),
        ])
        .unwrap();
        let services: Vec<_> =
            environment.services.iter().map(|(name, address)| format!("{name}={address}")).collect();
        assert_eq!(services, ["gift-cards=127.0.0.1:3002", "users=127.0.0.1:3001"]);
        let api = environment.service_api.unwrap();
        assert_eq!(api.address.port(), 4000);
        assert!(!format!("{api:?}").contains("secret"));
    }

    #[test]
    fn a_database_is_named_by_its_service_or_by_none_if_it_is_alone() {
        let environment =
            parse(&[("DATABASE_URL", "sqlite:plain.db"), ("GIFT_CARDS_DATABASE_URL", "sqlite:cards.db")])
                .unwrap();
        let url = |name: &str, alone| environment.database_url(&name.parse().unwrap(), alone);
        assert_eq!(url("gift-cards", false), Some("sqlite:cards.db"));
        assert_eq!(url("gift-cards", true), Some("sqlite:cards.db"));
        assert_eq!(url("orders", true), Some("sqlite:plain.db"));
        assert_eq!(url("orders", false), None);
    }

    #[test]
    fn what_is_not_as_expected_is_refused_by_name() {
        let refused = |variables: &[(&str, &str)]| parse(variables).unwrap_err().to_string();
        assert_eq!(
            refused(&[("PORT", "70000")]),
            "the variable PORT is not as expected: a port from 0 to 65535"
        );
        assert_eq!(
            refused(&[("MADANG_URL", "127.0.0.1:4000")]),
            "the variable MADANG_URL is not as expected: http://127.0.0.1:PORT"
        );
        assert_eq!(
            refused(&[("MADANG_URL", "http://127.0.0.1:4000")]),
            "the variable MADANG_TOKEN is not as expected: the token of this instance"
        );
        assert_eq!(
            refused(&[("MADANG_PRINCIPAL_KEYS", "secret")]),
            "the variable MADANG_PRINCIPAL_KEYS is not as expected: a JSON Web Key Set"
        );
        assert_eq!(parse(&[("PORT", "")]).unwrap().port, 0);
    }
}
