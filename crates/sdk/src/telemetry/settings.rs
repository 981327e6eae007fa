//! What the environment says of telemetry, in the variables of OpenTelemetry's specification
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
//!
//! Nothing of it keeps a service from running: what cannot be done is left out, and said.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::sampler::Sampler;

/// What the environment says of telemetry; by default that there is none.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    /// Where spans go; nowhere if absent.
    pub(crate) traces: Option<Receiver>,
    /// Where metrics go; nowhere if absent.
    pub(crate) metrics: Option<Receiver>,
    /// What is said of this process in both.
    pub(crate) resource: Vec<(String, String)>,
    /// The name of the service, in place of its own.
    pub(crate) service_name: Option<String>,
    /// Which traces have spans of this process.
    pub(crate) sampler: Sampler,
    /// The times and bounds.
    pub(crate) limits: Limits,
    /// What cannot be done.
    pub(crate) complaints: Vec<String>,
}

/// Times and bounds.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// How often spans are sent.
    pub(crate) pause: Duration,
    /// How many spans wait to be sent at most.
    pub(crate) waiting: usize,
    /// How often metrics are sent.
    pub(crate) interval: Duration,
    /// How long the receiver gets for an answer.
    pub(crate) timeout: Duration,
}

/// Who is sent telemetry.
#[derive(Clone)]
pub(crate) struct Receiver {
    /// Its host and port.
    pub(crate) authority: String,
    /// The path of the request.
    pub(crate) path: String,
    /// What each request says besides; may hold a secret.
    pub(crate) headers: HeaderMap,
}

/// One kind of telemetry, by its part of the names of variables and of the path.
struct Signal {
    variable: &'static str,
    path: &'static str,
}

const TRACES: Signal = Signal { variable: "TRACES", path: "v1/traces" };
const METRICS: Signal = Signal { variable: "METRICS", path: "v1/metrics" };

impl Default for Limits {
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(500),
            waiting: 4096,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
        }
    }
}

/// The variables, and what is wrong with them.
struct Variables<'a> {
    all: &'a BTreeMap<String, String>,
    complaints: Vec<String>,
}

// === impl Settings ===

impl Settings {
    /// What these variables say, to a process that a node runs or to one on its own.
    pub(crate) fn read(variables: &BTreeMap<String, String>, by_a_node: bool) -> Self {
        let mut variables = Variables { all: variables, complaints: Vec::new() };
        if variables.get("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            return Self::default();
        }
        let traces = variables.receiver(&TRACES);
        let metrics = variables.receiver(&METRICS);
        let defaults = Limits::default();
        let limits = Limits {
            pause: variables.millis("OTEL_BSP_SCHEDULE_DELAY", defaults.pause),
            waiting: variables.number("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(defaults.waiting),
            interval: variables.millis("OTEL_METRIC_EXPORT_INTERVAL", defaults.interval),
            timeout: variables.millis("OTEL_EXPORTER_OTLP_TIMEOUT", defaults.timeout),
        };
        let resource = variables.get("OTEL_RESOURCE_ATTRIBUTES").map(pairs).unwrap_or_default();
        let named = resource.iter().find(|(key, _)| key == "service.name").map(|(_, name)| name.clone());
        // A node names the unit there, and knows the services better.
        let service_name =
            variables.get("OTEL_SERVICE_NAME").map(str::to_owned).or(named).filter(|_| !by_a_node);
        let sampler = variables.sampler();
        Self { traces, metrics, resource, service_name, sampler, limits, complaints: variables.complaints }
    }
}

// === impl Variables ===

impl<'a> Variables<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.all.get(name).map(String::as_str)
    }

    /// The variable of one kind of telemetry, or else the one for all.
    fn of(&self, signal: &Signal, name: &str) -> Option<&'a str> {
        let own = self.get(&format!("OTEL_EXPORTER_OTLP_{}_{name}", signal.variable));
        own.or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }

    fn number<T: FromStr + PartialOrd + From<u8>>(&mut self, name: &str) -> Option<T> {
        let text = self.get(name)?;
        let number = text.parse().ok().filter(|number| *number >= T::from(1));
        if number.is_none() {
            self.complaints.push(format!("{name} is \"{text}\": a whole number from 1 on is expected"));
        }
        number
    }

    fn millis(&mut self, name: &str, default: Duration) -> Duration {
        self.number(name).map_or(default, Duration::from_millis)
    }

    /// Who gets telemetry of a kind; nobody without an endpoint, since most who run a service by hand have no
    /// receiver at the address that the specification has for that.
    fn receiver(&mut self, signal: &Signal) -> Option<Receiver> {
        let exporter = format!("OTEL_{}_EXPORTER", signal.variable);
        match self.get(&exporter) {
            None | Some("otlp") => {}
            Some("none") => return None,
            Some(other) => {
                self.complaints.push(format!("{exporter} is \"{other}\": only otlp and none are known here"));
                return None;
            }
        }
        let own = self.get(&format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.variable)).map(str::to_owned);
        let common = || {
            let base = self.get("OTEL_EXPORTER_OTLP_ENDPOINT")?;
            Some(format!("{}/{}", base.trim_end_matches('/'), signal.path))
        };
        let url = own.or_else(common)?;
        if let Some(protocol) = self.of(signal, "PROTOCOL").filter(|protocol| *protocol != "http/protobuf") {
            self.complaints.push(format!(
                "the protocol for {url} is {protocol}: only http/protobuf is spoken here, to a port of its own"
            ));
            return None;
        }
        let place = url.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http"));
        let authority = place.as_ref().and_then(|uri| {
            let authority = uri.authority()?;
            Some(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))
        });
        let (Some(uri), Some(authority)) = (place, authority) else {
            self.complaints.push(format!(
                "telemetry cannot be sent to {url}: http://HOST:PORT is expected, such as the node or a collector on \
                 this machine"
            ));
            return None;
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let headers = self.of(signal, "HEADERS").map(str::to_owned).unwrap_or_default();
        Some(Receiver { authority, path, headers: self.headers(&headers) })
    }

    fn headers(&mut self, text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs(text) {
            match (HeaderName::from_str(&name), HeaderValue::from_str(&value)) {
                (Ok(name), Ok(value)) => _ = headers.insert(name, value),
                // The value may be a secret.
                _ => self
                    .complaints
                    .push(format!("OTEL_EXPORTER_OTLP_HEADERS: {name} is no header, or not its value")),
            }
        }
        headers
    }

    fn sampler(&mut self) -> Sampler {
        let Some(name) = self.get("OTEL_TRACES_SAMPLER") else { return Sampler::default() };
        let argument = self.get("OTEL_TRACES_SAMPLER_ARG");
        Sampler::named(name, argument).unwrap_or_else(|| {
            let argument = argument.unwrap_or_default();
            self.complaints
                .push(format!("OTEL_TRACES_SAMPLER is \"{name}\" with \"{argument}\": it is not known here"));
            Sampler::default()
        })
    }
}

/// `name=value` pairs with commas between, percent-encoded as in W3C Baggage.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((decoded(name.trim()), decoded(value.trim()))).filter(|(name, _)| !name.is_empty())
    };
    text.split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = &after[if byte.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

// What headers hold may be a secret.
impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("authority", &self.authority)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("traces", &self.traces)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::read(&variables, false)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");

    #[test]
    fn the_node_says_where_to_and_with_which_token() {
        let settings = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%2Fb%3D,x=1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=users-a,service.version=r%2C1"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics.local/in?a=b"),
        ]);
        assert_eq!(settings.complaints, [""; 0]);
        let (traces, metrics) = (settings.traces.unwrap(), settings.metrics.unwrap());
        assert_eq!((&*traces.authority, &*traces.path), ("127.0.0.1:4318", "/v1/traces"));
        assert_eq!((&*metrics.authority, &*metrics.path), ("metrics.local:80", "/in?a=b"));
        assert_eq!(traces.headers["authorization"], "Bearer a/b=");
        assert!(!format!("{traces:?}").contains("Bearer"));
        assert_eq!(settings.resource[1], ("service.version".to_owned(), "r,1".to_owned()));
    }

    #[test]
    fn it_can_be_turned_off_as_a_whole_and_in_parts() {
        assert!(read(&[]).traces.is_none());
        let parts = |variable, value| {
            let settings = read(&[ENDPOINT, (variable, value)]);
            (settings.traces.is_some(), settings.metrics.is_some(), settings.complaints.len())
        };
        assert_eq!(parts("OTEL_SDK_DISABLED", "false"), (true, true, 0));
        assert_eq!(parts("OTEL_SDK_DISABLED", "TRUE"), (false, false, 0));
        assert_eq!(parts("OTEL_TRACES_EXPORTER", "none"), (false, true, 0));
        assert_eq!(parts("OTEL_METRICS_EXPORTER", "none"), (true, false, 0));
        assert_eq!(parts("OTEL_TRACES_EXPORTER", "zipkin"), (false, true, 1));
        assert_eq!(parts("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), (false, false, 2));
        assert_eq!(parts("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://far.example"), (false, true, 1));
        assert_eq!(parts("OTEL_TRACES_SAMPLER", "jaeger_remote"), (true, true, 1));
        assert_eq!(parts("OTEL_BSP_SCHEDULE_DELAY", "soon"), (true, true, 1));
    }

    #[test]
    fn a_name_holds_only_where_no_node_knows_better() {
        let variables = BTreeMap::from([("OTEL_SERVICE_NAME".to_owned(), "core".to_owned())]);
        assert_eq!(Settings::read(&variables, false).service_name.as_deref(), Some("core"));
        assert_eq!(Settings::read(&variables, true).service_name, None);
    }
}
